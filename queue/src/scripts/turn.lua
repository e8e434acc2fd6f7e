-- Ends runs and takes jobs for their worker, in one call: what finish.lua does and then what claim.lua does, all of it or
-- nothing. Both judge what was before it, so a job that ends here is not taken here, and what is pushed of it is a
-- duplicate as long as it runs. Each says of itself what its repetition answers, and so does a turn.
--
-- ARGV: 5 to 15 as claim.lua's   from 16 on: as finish.lua's from 7
-- Answer: {finish.lua's, claim.lua's}

read_runs(16)
look()
local takes = n_arrived + n_waiting > 0
on_jobs()
local answers = judge_runs()
if takes then judge_items() end
on_queue()

check_bookkeeping()
check_runs()
if takes then
  -- The endings begin the writing.
  require_right('LPOP', n_waiting > 0 and MAIN or ARRIVALS)
  check_claim()
end
local released = write_runs()
if takes then write_claim() end
holders[HOLDER] = (holders[HOLDER] or 0) + n_taken
change_held(n_taken - released, holders)
write_records(records_after)
write_statuses(statuses)
write_taken()
return { answers, claims }
