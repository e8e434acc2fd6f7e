-- Cancels a job. One that waits leaves the list, if it is found there by a bounded look at both ends; else a mark
-- stays by which its item is not counted any more, and dropped in its turn. One that runs is only asked for, of
-- the worker that has it.
--
-- ARGV: 5, 6 settings.lua's   7 id   8 how many items are looked at from each end
-- Answer: {"cancelled"}, {"requested"} (it runs), {"foreign"} (a worker that is not ours has it), {"ended", status},
--   or {"unknown"}

local ID, LOOK = ARGV[7], tonumber(ARGV[8])
require_rights({
  { 'ZREM', DELAYED, '' }, { 'ZREM', DEAD, '' }, { 'LPOS', MAIN, '' }, { 'LREM', MAIN, 1, '' },
  { 'LREM', ARRIVALS, 1, '' }, { 'HSET', RECORDS, '', '' }, { 'ZADD', FINISHED, 0, '' }, { 'SADD', CANCELLED, '' },
  { 'HINCRBY', COUNTS, '', 1 }, { 'HSET', HASH .. ID, 'status', '' }, { 'SADD', CHANGED, '' },
})
require_types()
local now = now_ms()
local record = read_records({ ID })[ID] or {}
local leased, delayed = call('ZSCORE', LEASES, ID), call('ZSCORE', DELAYED, ID)
on_jobs()
local status = status_of(ID)
on_queue()

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', DELAYED, '')
if not status then return { 'unknown' } end
if TERMINAL[status] then return { 'ended', status } end
if leased then
  record.cancel = true
  write_records({ [ID] = record })
  return { 'requested' }
end
if status == 'in progress' and not delayed then return { 'foreign' } end
-- A word of a program that is not ours, which nobody overwrites: the sweep has found that it ended the job, or it has not yet.
if not LIVE[status] then return call('ZSCORE', FINISHED, ID) and { 'ended', status } or { 'foreign' } end

-- Whether it was found among so many items of each end.
local function remove_from(list)
  local long = call('LLEN', list) > LOOK
  for _, item in ipairs(shapes_of(ID, record)) do
    if call('LPOS', list, item, 'MAXLEN', LOOK) then return call('LREM', list, 1, item) == 1 end
    if long and call('LPOS', list, item, 'RANK', -1, 'MAXLEN', LOOK) then
      return call('LREM', list, -1, item) == 1
    end
  end
  return false
end

if call('ZREM', DELAYED, ID) == 0 and not remove_from(ARRIVALS) and not remove_from(MAIN) then
  -- Where all was looked at, nothing lies there: a worker that is not ours has taken it and not said so yet.
  local unseen = math.max(call('LLEN', MAIN), call('LLEN', ARRIVALS)) > 2 * LOOK
  if unseen then call('SADD', CANCELLED, ID) end
end
call('ZREM', DEAD, ID)
record.item, record.finished = nil, now
past(record, now, 'cancelled')
write_records({ [ID] = record })
call('ZADD', FINISHED, now, ID)
if record.watched then call('SADD', CHANGED, ID) end
count('cancelled', 1)
on_jobs()
call('HSET', HASH .. ID, 'status', 'cancelled')
on_queue()
return { 'cancelled' }
