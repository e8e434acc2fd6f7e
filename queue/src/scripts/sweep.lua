-- Looks after jobs of our index that others took: BLPOP keeps no trace of them. Follows the index up to the head of
-- the list, each entry once; what has not ended by then is tracked, and looked at again in turn until it has.
--
-- KEYS besides the prelude's:
--   22 suspects   zset  job id -> when it was last looked at, Unix ms; taken from the list, and not ended
--   23 sightings  hash  job id -> what was seen of it, packed: of its foreign worker (sight.lua), or
--                         {word, since}: a status that is not ours, and since when it is there, Unix ms; or
--                         {missing}: since when it is submitted and waits nowhere, Unix ms
-- `ticks` also holds: swept (when the last sweep was), sweep_place (up to where the index was followed)
-- ARGV: 5, 6 settings.lua's   7 "first" or "more" of a sweep   8 least time between two sweeps, ms   9 how many are looked at
--   10 after how long a status that is not ours has ended a job, ms   11 after how long a job that is missing is told of, ms
-- Answer: {skipped, more (0 or 1), {id, ms, id, ms, ...}, id, worker, id, worker, ...}: the jobs that are missing and for how
--   long, and those that a foreign worker has

local FIRST, INTERVAL, LIMIT = ARGV[7] == 'first', tonumber(ARGV[8]), tonumber(ARGV[9])
local WORD_TIME, MISSING_TIME = tonumber(ARGV[10]), tonumber(ARGV[11])
local SUSPECTS, SIGHTINGS = KEYS[22], KEYS[23]
local now = now_ms()
local swept, place = unpack(call('HMGET', TICKS, 'swept', 'sweep_place'))
local elapsed = now - (tonumber(swept) or 0)
if FIRST and elapsed >= 0 and elapsed < INTERVAL then return { 1, 0, {} } end
-- Also what sight.lua and missing.lua will need: what cannot be judged is not looked for.
require_rights({
  { 'INFO', 'server' }, { 'HSET', SIGHTINGS, '', '' }, { 'HSET', RECORDS, '', '' }, { 'LPUSH', MAIN, '' },
  { 'HINCRBY', COUNTS, '', 1 }, { 'HSET', HASH .. 'x', 'a', '' }, { 'HDEL', HASH .. 'x', 'a' },
  { 'ZREM', SUSPECTS, '' }, { 'ZADD', SUSPECTS, 0, '' }, { 'HDEL', SIGHTINGS, '' }, { 'ZADD', FINISHED, 0, '' },
  { 'HSET', TICKS, 'a', '' },
})
require_forgettable()
call('ZCARD', SUSPECTS)
call('HLEN', SIGHTINGS)
place = tonumber(place) or 0
-- The clock was put back, and with it the places that are given now.
if place > now * 1000 then place = (now - 60000) * 1000 end

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
-- Those whose time is yet to come were looked at before the clock was put back.
local again = call('ZRANGEBYSCORE', SUSPECTS, '-inf', now - INTERVAL, 'LIMIT', 0, LIMIT)
if #again < LIMIT then
  local late = call('ZRANGEBYSCORE', SUSPECTS, '(' .. score(now), '+inf', 'LIMIT', 0, LIMIT - #again)
  for _, id in ipairs(late) do again[#again + 1] = id end
end
for _, id in ipairs(again) do ids[#ids + 1] = id end

-- Most have ended with us; the others are looked at more closely.
local ended, open = {}, {}
local finished = #ids > 0 and call('ZMSCORE', FINISHED, unpack(ids))
for i, id in ipairs(ids) do
  local list = finished[i] and ended or open
  list[#list + 1] = id
end

local tracked, foreign, unlisted, done, gone = {}, {}, {}, {}, {}
local submitted, words, worded = {}, {}, {}
local function track(id)
  tracked[#tracked + 1], tracked[#tracked + 2] = now, id
end

-- From here on it is kept as long as those that ended with us.
local function end_foreign(id)
  unlisted[#unlisted + 1], unlisted[#unlisted + 2], ended[#ended + 1], done[#done + 1] = now, id, id, id
end

-- On the jobs' database.
local function judge(id)
  local status = status_of(id)
  if not status then
    gone[#gone + 1], ended[#ended + 1] = id, id
  elseif TERMINAL[status] then
    end_foreign(id)
    if not OURS[status] then words[id] = status end
  elseif not LIVE[status] then
    worded[#worded + 1], words[id] = id, status
  else
    track(id)
    if status == 'in progress' then
      foreign[#foreign + 1], foreign[#foreign + 2] = id, call('HGET', HASH .. id, 'worker') or ''
    elseif status == 'submitted' then
      submitted[#submitted + 1] = id
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
      track(id)
    else
      judge(id)
    end
  end
  on_queue()
end

local kept, forgotten = {}, {}
local function keep(id, sighting)
  kept[#kept + 1], kept[#kept + 2] = id, cmsgpack.pack(sighting)
end

local function sightings_of(some)
  local seen = {}
  if #some == 0 then return seen end
  for i, packed in ipairs(call('HMGET', SIGHTINGS, unpack(some))) do seen[some[i]] = packed and unpacked(packed) end
  return seen
end

-- For how long something that was seen lasts; nil if that was not seen, or at a time that is yet to come.
local function lasts(since)
  return type(since) == 'number' and since <= now and now - since or nil
end

-- A status that is not ours, of a job that nobody of ours has: it may say that a program works on it, or what became of it. One
-- that stays has ended the job, nobody knows how.
local function judge_words()
  local seen = sightings_of(worded)
  for _, id in ipairs(worded) do
    local sighting = seen[id] or {}
    local time = sighting.word == words[id] and lasts(sighting.since)
    if time and time >= WORD_TIME then
      end_foreign(id)
    else
      track(id)
      if not time then keep(id, { word = words[id], since = now }) end
      words[id] = nil
    end
  end
end

-- Submitted and neither held nor delayed: it waits, or a program took it just now, or somebody emptied the list. Only as long
-- as few items wait is it known which; the time is counted from when it was known.
local missing = {}
local function judge_submitted()
  if #submitted == 0 then return end
  local seen, line = sightings_of(submitted), line_of(LIMIT)
  for _, id in ipairs(submitted) do
    local time = seen[id] and lasts(seen[id].missing)
    if not line or line[id] then
      if seen[id] then forgotten[#forgotten + 1] = id end
    elseif not time then
      keep(id, { missing = now })
    elseif time >= MISSING_TIME then
      missing[#missing + 1], missing[#missing + 2] = id, time
    end
  end
end

judge_words()
judge_submitted()

-- What its status does not tell, as it is not ours, is told by the record.
local worded_ended = {}
for id in pairs(words) do worded_ended[#worded_ended + 1] = id end
local records, noted = read_records(worded_ended), {}
for _, id in ipairs(worded_ended) do
  local record = records[id] or {}
  record.finished = now
  past(record, now, 'ended by another program')
  noted[id] = record
end

local watched_gone, watched_done = watched_of(gone), watched_of(done)

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', SUSPECTS, '')
if #ended > 0 then
  call('ZREM', SUSPECTS, unpack(ended))
  call('HDEL', SIGHTINGS, unpack(ended))
end
if #forgotten > 0 then call('HDEL', SIGHTINGS, unpack(forgotten)) end
if #kept > 0 then call('HSET', SIGHTINGS, unpack(kept)) end
forget(gone, watched_gone)
write_records(noted)
count('foreign_ended', #worded_ended)
if #unlisted > 0 then call('ZADD', FINISHED, 'NX', unpack(unlisted)) end
if #watched_done > 0 then call('SADD', CHANGED, unpack(watched_done)) end
if #tracked > 0 then call('ZADD', SUSPECTS, unpack(tracked)) end
if #passed > 0 then call('HSET', TICKS, 'sweep_place', passed[#passed]) end
if FIRST then call('HSET', TICKS, 'swept', now) end
local more = (#passed == 2 * LIMIT or #again == LIMIT) and 1 or 0
return { 0, more, missing, unpack(foreign) }
