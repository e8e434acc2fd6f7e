-- Takes up to so many jobs for a worker: from arrivals first, then from the list. A duplicate, a finished and a
-- cancelled job is dropped, an item that is no job goes to the dead, one without a hash is tried again later.
-- The same claim again (same worker, same nonce) answers the same and takes nothing.
--
-- ARGV: 5, 6 settings.lua's   7 worker's nonce   8 claim's nonce   9 token   10 slots   11 lease, ms   12 worker's IP
--       13 holder   14 how long an id without hash waits, ms   15 how often it is tried
-- Answer: {ms that the holder is still marked or 0, items left, and for each job: id, start, end, attempt}; in place
--   of the attempt {attempt, payload, timeout (ms), most attempts}, false what is absent, if any of these was submitted

look()
if n_arrived + n_waiting == 0 then
  -- Takes nothing, but a replica refuses it.
  call('LPOP', MAIN, '0')
  return claims
end
on_jobs()
judge_items()
on_queue()

check_bookkeeping()
check_claim()
write_claim()
change_held(n_taken, { [HOLDER] = n_taken })
write_records(records_after)
write_taken()
return claims
