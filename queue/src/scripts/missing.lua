-- Ends jobs that are missing: submitted, and for long neither on the list nor with anybody, as after a DEL of the list. They are
-- dead, so that a retry puts them back. What changed since the sweep saw them is left alone.
--
-- KEYS besides the prelude's: as sweep.lua's   ARGV: 5, 6 settings.lua's   7 how many items of the lists are looked at   from 8: ids
-- Answer: how many are dead now

local LIMIT, SUSPECTS, SIGHTINGS = tonumber(ARGV[7]), KEYS[22], KEYS[23]
require_rights({
  { 'ZREM', SUSPECTS, '' }, { 'HDEL', SIGHTINGS, '' }, { 'HSET', RECORDS, '', '' }, { 'ZADD', DEAD, 0, '' },
  { 'HINCRBY', COUNTS, '', 1 }, { 'HSET', HASH .. 'x', 'a', '' }, { 'SADD', CHANGED, '' },
})
require_types()
call('ZCARD', SUSPECTS)
call('HLEN', SIGHTINGS)
local now = now_ms()
local ids = { unpack(ARGV, 8) }
local records, line = read_records(ids), line_of(LIMIT)
local leased, delayed = call('ZMSCORE', LEASES, unpack(ids)), call('ZMSCORE', DELAYED, unpack(ids))
local dead, seen = call('ZMSCORE', DEAD, unpack(ids)), call('HMGET', SIGHTINGS, unpack(ids))
local ended, changed, buried, statuses, watched = {}, {}, {}, {}, {}
on_jobs()
for i, id in ipairs(ids) do
  local is_missing = line and not line[id] and not leased[i] and not delayed[i] and not dead[i]
    and seen[i] and (unpacked(seen[i]) or {}).missing
  if is_missing and status_of(id) == 'submitted' then
    local record = records[id] or {}
    record.reason = 'removed from the queue'
    past(record, now, record.reason)
    ended[#ended + 1], changed[id] = id, record
    buried[#buried + 1], buried[#buried + 2] = score(now), id
    statuses[#statuses + 1], statuses[#statuses + 2] = id, 'failed'
    if record.watched then watched[#watched + 1] = id end
  end
end
on_queue()

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', SUSPECTS, '')
if #ended > 0 then
  call('ZREM', SUSPECTS, unpack(ended))
  call('HDEL', SIGHTINGS, unpack(ended))
  write_records(changed)
  call('ZADD', DEAD, unpack(buried))
  if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
  count('removed', #ended)
  count('dead', #ended)
  write_statuses(statuses)
end
return #ended
