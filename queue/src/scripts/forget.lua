-- Forgets jobs, so that nothing of them is left but perhaps a hash that somebody began anew: record, payload, result
-- and place in the index together.

local function require_forgettable()
  require_rights({
    { 'ZREM', INDEX, '' }, { 'HDEL', RECORDS, '' }, { 'HSET', RECORDS, '', '' }, { 'HDEL', PAYLOADS, '' },
    { 'HDEL', RESULTS, '' }, { 'SADD', CHANGED, '' },
  })
  require_types()
end

-- Those of them that are watched. Unpacks nothing: where one of too many has that word in an error, who is told that it
-- changed asks once in vain.
local function watched_of(ids)
  local watched = {}
  if #ids == 0 then return watched end
  for i, packed in ipairs(call('HMGET', RECORDS, unpack(ids))) do
    if packed and string.find(packed, 'watched', 1, true) then watched[#watched + 1] = ids[i] end
  end
  return watched
end

local function drop_results(ids)
  if #ids == 0 or call('HLEN', RESULTS) == 0 then return end
  local fields = {}
  for i, id in ipairs(ids) do fields[2 * i - 1], fields[2 * i] = id, id .. '\n' end
  call('HDEL', RESULTS, unpack(fields))
end

-- `watched` is what watched_of answered for them before the first write.
local function forget(ids, watched)
  if #ids == 0 then return end
  call('HDEL', RECORDS, unpack(ids))
  call('ZREM', INDEX, unpack(ids))
  if call('HLEN', PAYLOADS) > 0 then call('HDEL', PAYLOADS, unpack(ids)) end
  drop_results(ids)
  if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
end

-- Of jobs that somebody set back to submitted nothing is left but what was submitted. `records` are theirs. A mirror of one
-- has its past runs, so the change is noted.
local function let_begin_anew(ids, records)
  local anew, watched = {}, {}
  for _, id in ipairs(ids) do
    local record = begin_anew(records[id] or {})
    anew[id] = next(record) and record or false
    if record.watched then watched[#watched + 1] = id end
  end
  write_records(anew)
  drop_results(ids)
  if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
end
