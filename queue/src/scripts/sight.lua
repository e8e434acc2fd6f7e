-- Judges jobs that foreign workers have, by the connections of these workers. One is lost when all lasting
-- connections that were there when it was first seen to be in progress are gone, at two looks: never on absence
-- alone, and never after the server itself was restarted, which ends all connections.
--
-- KEYS besides the prelude's: 22 suspects   23 sightings  hash  job id -> packed {worker, run_id, newest, gone, lost}:
--   whose, on which server process, its newest lasting connection at the first look, since when all are gone (ms)
-- ARGV: 5, 6 settings.lua's   7 the server process whose connections were listed
--   8 1: a connection stays as long as its client does   9 1: lost jobs are put back   10 losses after which a job is dead
--   11 how long all must be gone, ms
--   from 12: id, worker, number of its oldest connection, and of its newest that has lasted; 0 for none; and so on
-- Answer: {newly lost, put back, dead}

local RUN_ID, LASTING, RECOVER, MAX_LOST = ARGV[7], ARGV[8] == '1', ARGV[9] == '1', tonumber(ARGV[10])
local GRACE, SUSPECTS, SIGHTINGS = tonumber(ARGV[11]), KEYS[22], KEYS[23]
require_rights({
  { 'HDEL', SIGHTINGS, '' }, { 'HSET', SIGHTINGS, '', '' }, { 'HSET', RECORDS, '', '' }, { 'ZADD', DEAD, 0, '' },
  { 'LPUSH', MAIN, '' }, { 'HINCRBY', COUNTS, '', 1 }, { 'HSET', HASH .. 'x', 'a', '' },
  { 'HDEL', HASH .. 'x', 'a' }, { 'SADD', CHANGED, '' },
})
require_types()
call('HLEN', SIGHTINGS)
local now = now_ms()
-- Those connections may be another server's.
local same_server = string.match(call('INFO', 'server'), 'run_id:(%x+)') == RUN_ID

local entries, ids = {}, {}
for i = 12, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
  entries[#entries + 1] =
    { id = ARGV[i], worker = ARGV[i + 1], oldest = tonumber(ARGV[i + 2]), newest = tonumber(ARGV[i + 3]) }
end
local seen, records = call('HMGET', SIGHTINGS, unpack(ids)), read_records(ids)
local leased, delayed = call('ZMSCORE', LEASES, unpack(ids)), call('ZMSCORE', DELAYED, unpack(ids))
on_jobs()
for i, entry in ipairs(entries) do
  -- Between the two scripts it may have ended, or somebody else may have taken it.
  local fields = not leased[i] and not delayed[i] and try('HMGET', HASH .. entry.id, 'status', 'worker')
  entry.in_progress = fields and fields[1] == 'in progress' and (fields[2] or '') == entry.worker
end
on_queue()

local kept, forgotten, changed, items, buried, statuses, watched = {}, {}, {}, {}, {}, {}, {}
local lost, returned = 0, 0

local function end_lost(id, record)
  forgotten[#forgotten + 1] = id
  record.lost = (record.lost or 0) + 1
  past(record, now, 'foreign worker lost')
  changed[id] = record
  if record.watched then watched[#watched + 1] = id end
  if record.lost >= MAX_LOST or has_spent_its_own(record) then
    record.reason = 'worker lost'
    buried[#buried + 1], buried[#buried + 2] = now, id
    statuses[#statuses + 1], statuses[#statuses + 2] = id, 'failed'
  else
    returned = returned + 1
    items[#items + 1] = item_for(id, record)
    statuses[#statuses + 1], statuses[#statuses + 2] = id, 'submitted'
  end
end

local function keep(id, sighting)
  kept[#kept + 1], kept[#kept + 2] = id, cmsgpack.pack(sighting)
end

local function judge(entry, sighting)
  local id = entry.id
  if not entry.in_progress then
    forgotten[#forgotten + 1] = id
  elseif not sighting or sighting.worker ~= entry.worker or sighting.run_id ~= RUN_ID
    or type(sighting.newest) ~= 'number' then
    if entry.newest > 0 then
      keep(id, { worker = entry.worker, run_id = RUN_ID, newest = entry.newest })
    elseif sighting then
      forgotten[#forgotten + 1] = id
    end
  elseif entry.oldest > 0 and entry.oldest <= sighting.newest then
    if sighting.gone then
      sighting.gone = nil
      keep(id, sighting)
    end
  elseif not sighting.gone then
    sighting.gone = now
    keep(id, sighting)
  elseif now - sighting.gone >= GRACE then
    if not sighting.lost then lost = lost + 1 end
    if RECOVER then return end_lost(id, records[id] or {}) end
    if not sighting.lost then
      sighting.lost = true
      keep(id, sighting)
    end
  end
end

if same_server and LASTING then
  for i, entry in ipairs(entries) do judge(entry, seen[i] and unpacked(seen[i])) end
end

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('HDEL', SIGHTINGS, '')
if #forgotten > 0 then call('HDEL', SIGHTINGS, unpack(forgotten)) end
if #kept > 0 then call('HSET', SIGHTINGS, unpack(kept)) end
write_records(changed)
if #buried > 0 then call('ZADD', DEAD, unpack(buried)) end
if #items > 0 then call('LPUSH', MAIN, unpack(items)) end
if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
count('foreign_lost', lost)
count('foreign_recovered', returned)
count('dead', #buried / 2)
write_statuses(statuses)
return { lost, returned, #buried / 2 }
