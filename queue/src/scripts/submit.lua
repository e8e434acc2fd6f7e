-- Puts jobs in: for each its hash (jobs db), its place in the index, its item on the list, and what its
-- idempotency key stands for. All or nothing for each, the hash before the item; the same job again, or another
-- under the same key, adds nothing.
--
-- Stands without the prelude, whose names and functions would cost more than the whole of a job.
-- KEYS: 1 main   2 index   3 records   4 payloads
-- ARGV: 1 queue db   2 jobs db   3 prefix of idempotency keys (queue db)   4 prefix of jobs' hashes (jobs db)
--   5 how many jobs n   6 how many of them bring something along
--   n times: id, start, end, item
--   for each that brings something along: which job (from 1), payload (empty: none), most attempts (0: as all have),
--     timeout (ms; 0: the worker's), watched (0 or 1)
--   for each that has a key: which job, key, fingerprint of what was asked, how long the key is kept (ms)
-- Answer for each job:
--   its time in Unix us: it is in (new, or submitted before)    0: it exists, but was not submitted by us
--   -1: it exists with other contents                            -2: its key stands for something else
--   {id, time or 0}: its key stands for this job                 text: what is wrong with its hash

local call = redis.call
local MAIN, INDEX, RECORDS, PAYLOADS = unpack(KEYS)
local QUEUE_DB, JOBS_DB, KEY, HASH, N = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local FIRST, STRIDE, STRIDE_ALONG, N_ALONG = 7, 4, 5, tonumber(ARGV[6])
local ALONG = FIRST + STRIDE * N
local KEYED = ALONG + STRIDE_ALONG * N_ALONG

local function on(db)
  if JOBS_DB ~= QUEUE_DB then call('SELECT', db) end
end

-- By job, what it brings along.
local function read_along()
  local along = {}
  for at = ALONG, KEYED - 1, STRIDE_ALONG do
    along[tonumber(ARGV[at])] = {
      payload = ARGV[at + 1], max_attempts = tonumber(ARGV[at + 2]), timeout = tonumber(ARGV[at + 3]),
      watched = ARGV[at + 4] == '1',
    }
  end
  return along
end

-- On the jobs' database: the payload that is kept of a job; empty if there is none.
local function kept_payload(id)
  on(QUEUE_DB)
  local payload = call('HGET', PAYLOADS, id)
  on(JOBS_DB)
  return payload or ''
end

-- What is to be kept of the new ones of those: {record, packed...}, {payload...}, each after its id. Begins and ends on
-- the jobs' database.
local function kept_of_new(along, answers)
  local jobs, ids, records, payloads = {}, {}, {}, {}
  for job in pairs(along) do
    if answers[job] == nil then
      jobs[#jobs + 1], ids[#ids + 1] = job, ARGV[FIRST + STRIDE * (job - 1)]
    end
  end
  if #ids == 0 then return records, payloads end
  local of_what_was = { 'token', 'worker', 'holder', 'lease', 'claimed', 'done', 'finished' }
  on(QUEUE_DB)
  call('HLEN', PAYLOADS)
  for i, before in ipairs(call('HMGET', RECORDS, unpack(ids))) do
    local brought, id, record = along[jobs[i]], ids[i], {}
    -- Of a job whose hash was deleted; what still holds it must stay.
    local understood, old = pcall(cmsgpack.unpack, before or '')
    if understood and type(old) == 'table' then
      for _, name in ipairs(of_what_was) do record[name] = old[name] end
    end
    if brought.payload ~= '' then
      record.payload = true
      payloads[#payloads + 1], payloads[#payloads + 2] = id, brought.payload
    end
    if brought.max_attempts > 0 then record.max_attempts = brought.max_attempts end
    if brought.timeout > 0 then record.timeout = brought.timeout end
    if brought.watched then record.watched = true end
    records[#records + 1], records[#records + 2] = id, cmsgpack.pack(record)
  end
  on(JOBS_DB)
  return records, payloads
end

-- Which of the jobs need not be made, and the answer to those. `keyed` has the keys of those that have one, `along` what
-- they bring along. Begins on the queue's database and ends on the jobs'.
local function judge(keyed, along)
  local stored, key_of, seen = {}, {}, {}
  if keyed then
    local names = {}
    for i, entry in ipairs(keyed) do
      names[i], key_of[entry.job] = KEY .. entry.key, entry
    end
    local values = call('MGET', unpack(names))
    for i, entry in ipairs(keyed) do
      local id, fingerprint = string.match(values[i] or '', '^([^\n]*)\n(.*)$')
      if id then stored[entry.key] = { id = id, fingerprint = fingerprint } end
    end
  end
  on(JOBS_DB)
  local answers = {}
  for job = 1, N do
    local at = FIRST + STRIDE * (job - 1)
    local id, first, last, entry = ARGV[at], ARGV[at + 1], ARGV[at + 2], key_of[job]
    local before, twin = entry and stored[entry.key], seen[id]
    local payload = along and along[job] and along[job].payload or ''
    if before then
      entry.taken = true
      answers[job] = before.fingerprint == entry.fingerprint and { id = before.id } or -2
    elseif twin then
      answers[job] = -1
      if twin.first == first and twin.last == last and twin.payload == payload then
        answers[job] = answers[twin.job] or { twin = twin.job }
      end
    else
      local found = redis.pcall('HMGET', HASH .. id, 'id', 'start', 'end')
      if found.err then
        if not string.find(found.err, 'WRONGTYPE', 1, true) then
          error(redis.acl_check_cmd and { err = found.err } or found.err)
        end
        answers[job] = 'WRONGTYPE ' .. HASH .. id .. ' is no hash'
      elseif found[1] or found[2] or found[3] then
        local same = found[2] == first and found[3] == last and kept_payload(id) == payload
        answers[job] = same and 0 or -1
      end
      seen[id] = { job = job, first = first, last = last, payload = payload }
    end
    -- From here on in this batch, the key stands for this job, if it is in.
    if entry and not entry.taken then
      local answer = answers[job]
      if answer == nil or answer == 0 or type(answer) == 'table' then
        stored[entry.key] = { id = id, fingerprint = entry.fingerprint }
      else
        entry.taken = true
      end
    end
  end
  return answers
end

call('SELECT', QUEUE_DB)
-- HSET comes first and says itself that it may not be run.
local may = redis.acl_check_cmd
if may and not (may('ZADD', INDEX, 0, '') and may('RPUSH', MAIN, '')) then
  error({ err = 'NOPERM this user may not run ZADD on ' .. INDEX .. ' or RPUSH on ' .. MAIN })
end
local along
if N_ALONG > 0 then
  along = read_along()
  if may and not (may('HSET', RECORDS, '', '') and may('HSET', PAYLOADS, '', '')) then
    error({ err = 'NOPERM this user may not run HSET on ' .. RECORDS .. ' or ' .. PAYLOADS })
  end
end
call('LLEN', MAIN)
local newest = call('ZREVRANGE', INDEX, 0, 0, 'WITHSCORES')
local clock = call('TIME')
local time = clock[1] * 1000000 + clock[2]

local hashes, seen, twins, keyed = {}, {}, false, nil
for job = 1, N do
  local id = ARGV[FIRST + STRIDE * (job - 1)]
  twins = twins or seen[id]
  hashes[job], seen[id] = HASH .. id, true
end
for i = KEYED, #ARGV, 4 do
  keyed = keyed or {}
  keyed[#keyed + 1] = { job = tonumber(ARGV[i]), key = ARGV[i + 1], fingerprint = ARGV[i + 2], keep = ARGV[i + 3] }
  if may and not may('SET', KEY .. ARGV[i + 1], '', 'PX', 1) then
    error({ err = 'NOPERM this user may not run SET on ' .. KEY .. ARGV[i + 1] })
  end
end
on(JOBS_DB)
local all_new, answers = not twins and not keyed and call('EXISTS', unpack(hashes)) == 0, {}
if not all_new then
  on(QUEUE_DB)
  answers = judge(keyed, along)
end
local records, payloads = {}, {}
if along then records, payloads = kept_of_new(along, answers) end

-- Times are unique and rise, so that one of them is a place in the listing; unless the clock was put back by
-- more than could pass for that.
local base = newest[2] and tonumber(newest[2]) + 1 or time
if base < time or base > time + 1000000 then base = time end
local scores, items, made = {}, {}, 0
for job = 1, N do
  if answers[job] == nil then
    local at = FIRST + STRIDE * (job - 1)
    local id = ARGV[at]
    call('HSET', hashes[job], 'id', id, 'status', 'submitted', 'start', ARGV[at + 1], 'end', ARGV[at + 2])
    made = made + 1
    scores[2 * made - 1], scores[2 * made], items[made] = base, id, ARGV[at + 3]
    answers[job] = base
    base = base + 1
  end
end
on(QUEUE_DB)
if made > 0 then
  if #records > 0 then call('HSET', RECORDS, unpack(records)) end
  if #payloads > 0 then call('HSET', PAYLOADS, unpack(payloads)) end
  call('ZADD', INDEX, unpack(scores))
  call('RPUSH', MAIN, unpack(items))
end
if all_new then return answers end

local function submitted(id) return tonumber(call('ZSCORE', INDEX, id) or 0) end

for _, entry in ipairs(keyed or {}) do
  if not entry.taken then
    local id = ARGV[FIRST + STRIDE * (entry.job - 1)]
    call('SET', KEY .. entry.key, id .. '\n' .. entry.fingerprint, 'PX', entry.keep)
  end
end
for job = 1, N do
  local answer = answers[job]
  if answer == 0 then
    answers[job] = submitted(ARGV[FIRST + STRIDE * (job - 1)])
  elseif type(answer) == 'table' and answer.twin then
    answers[job] = answers[answer.twin]
  elseif type(answer) == 'table' then
    answers[job] = { answer.id, submitted(answer.id) }
  end
end
return answers
