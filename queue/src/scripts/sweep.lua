-- Looks after jobs of our index that others took: BLPOP keeps no trace of them. Follows the index up to the head of
-- the list, each entry once; what has not ended by then is tracked, and looked at again in turn until it has.
--
-- KEYS besides the prelude's:
--   22 suspects   zset  job id -> when it was last looked at, Unix ms; taken from the list, and not ended
--   23 sightings  hash  job id -> what was seen of its foreign worker, packed (sight.lua)
-- `ticks` also holds: swept (when the last sweep was), sweep_place (up to where the index was followed)
-- ARGV: 5 "first" or "more" of a sweep   6 least time between two sweeps, ms   7 how many are looked at
-- Answer: {skipped, more (0 or 1), id, worker, id, worker, ...}, the jobs that a foreign worker has

local FIRST, INTERVAL, LIMIT = ARGV[5] == 'first', tonumber(ARGV[6]), tonumber(ARGV[7])
local SUSPECTS, SIGHTINGS = KEYS[22], KEYS[23]
-- Also what sight.lua will need: what cannot be judged is not looked for.
require_rights({
  { 'INFO', 'server' }, { 'HSET', SIGHTINGS, '', '' }, { 'HSET', RECORDS, '', '' }, { 'LPUSH', MAIN, '' },
  { 'HINCRBY', COUNTS, '', 1 }, { 'HSET', HASH .. 'x', 'a', '' }, { 'HDEL', HASH .. 'x', 'a' },
  { 'ZREM', SUSPECTS, '' }, { 'ZADD', SUSPECTS, 0, '' }, { 'HDEL', SIGHTINGS, '' }, { 'ZADD', FINISHED, 0, '' },
  { 'HSET', TICKS, 'a', '' },
})
require_forgettable()
call('ZCARD', SUSPECTS)
call('HLEN', SIGHTINGS)
local now = now_ms()
local swept, place = unpack(call('HMGET', TICKS, 'swept', 'sweep_place'))
local elapsed = now - (tonumber(swept) or 0)
place = tonumber(place) or 0
-- The clock was put back, and with it the places that are given now.
if place > now * 1000 then place = (now - 60000) * 1000 end
if FIRST and elapsed >= 0 and elapsed < INTERVAL then return { 1, 0 } end

-- Up to where jobs have left the list: the first item that has a place in the index.
local function head_place()
  for _, list in ipairs({ ARRIVALS, MAIN }) do
    for _, item in ipairs(call('LRANGE', list, 0, 9)) do
      local id = id_of(item)
      local found = id and call('ZSCORE', INDEX, id)
      if found then return '(' .. found end
    end
  end
  return call('LLEN', MAIN) + call('LLEN', ARRIVALS) == 0 and '+inf' or nil
end

local ids, head, passed = {}, head_place(), {}
if head then
  passed = call('ZRANGEBYSCORE', INDEX, string.format('(%.0f', place), head, 'WITHSCORES', 'LIMIT', 0, LIMIT)
end
for i = 1, #passed, 2 do ids[#ids + 1] = passed[i] end
local again = call('ZRANGEBYSCORE', SUSPECTS, '-inf', now - INTERVAL, 'LIMIT', 0, LIMIT)
for _, id in ipairs(again) do ids[#ids + 1] = id end

-- Most have ended with us; the others are looked at more closely.
local ended, open = {}, {}
local finished = #ids > 0 and call('ZMSCORE', FINISHED, unpack(ids))
for i, id in ipairs(ids) do
  local list = finished[i] and ended or open
  list[#list + 1] = id
end

local tracked, foreign, unlisted, done, gone = {}, {}, {}, {}, {}
local function judge(id)
  local status = status_of(id)
  if not status then
    gone[#gone + 1], ended[#ended + 1] = id, id
  elseif TERMINAL[status] then
    -- From here on it is kept as long as those that ended with us.
    unlisted[#unlisted + 1], unlisted[#unlisted + 2], ended[#ended + 1], done[#done + 1] = now, id, id, id
  else
    tracked[#tracked + 1], tracked[#tracked + 2] = now, id
    if status == 'in progress' then
      foreign[#foreign + 1], foreign[#foreign + 2] = id, call('HGET', HASH .. id, 'worker') or ''
    end
  end
end

if #open > 0 then
  local dead, leased = call('ZMSCORE', DEAD, unpack(open)), call('ZMSCORE', LEASES, unpack(open))
  local delayed = call('ZMSCORE', DELAYED, unpack(open))
  on_jobs()
  for i, id in ipairs(open) do
    if dead[i] then
      ended[#ended + 1] = id
    elseif leased[i] or delayed[i] then
      tracked[#tracked + 1], tracked[#tracked + 2] = now, id
    else
      judge(id)
    end
  end
  on_queue()
end

local watched_gone, watched_done = watched_of(gone), watched_of(done)

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', SUSPECTS, '')
if #ended > 0 then
  call('ZREM', SUSPECTS, unpack(ended))
  call('HDEL', SIGHTINGS, unpack(ended))
end
forget(gone, watched_gone)
if #unlisted > 0 then call('ZADD', FINISHED, 'NX', unpack(unlisted)) end
if #watched_done > 0 then call('SADD', CHANGED, unpack(watched_done)) end
if #tracked > 0 then call('ZADD', SUSPECTS, unpack(tracked)) end
if #passed > 0 then call('HSET', TICKS, 'sweep_place', passed[#passed]) end
if FIRST then call('HSET', TICKS, 'swept', now) end
local more = (#passed == 2 * LIMIT or #again == LIMIT) and 1 or 0
return { 0, more, unpack(foreign) }
