-- Stands before every script that writes. Names what each of them is given.
--
-- KEYS, all on the queue's database, always these twenty-one in this order (keys.rs):
--   1 main       list    the queue itself, shared with HotQueue programs; an item is a pickled job id
--   2 arrivals   list    where a wake-up moves an item; still waiting, for whoever claims first
--   3 leases     zset    job id -> end of its lease, Unix ms
--   4 held       string  how many jobs are leased; changed by claim, finish, turn, give-back and reap only
--   5 holds      hash    holder (pod UID, else the worker's nonce) -> how many jobs it holds
--   6 delayed    zset    job id -> when it is due, Unix ms
--   7 dead       zset    job id or "item:<sha1>" -> when it was given up, Unix ms
--   8 index      zset    job id -> when it was submitted, Unix us
--   9 workers    hash    worker's nonce -> what it told of itself, packed
--  10 beats      zset    worker's nonce -> until when it counts as alive, Unix ms
--  11 claims     hash    worker's nonce -> its last claim, packed, to answer a repetition
--  12 quiet      hash    pod UID -> its mark: "<until, Unix ms> quiet" or "... drain"
--  13 epoch      string  the highest leader epoch that gave a mark
--  14 ticks      hash    what the last tick saw: last, run_id, arrivals_head, arrivals_since; how far a guard is (guarding.lua)
--  15 counts     hash    what happened how often, for metrics
--  16 records    hash    job id or "item:<sha1>" -> its record, packed
--  17 finished   zset    job id -> when it ended (complete, cancelled; not dead), Unix ms
--  18 cancelled  set     ids that were cancelled while their item still lies on main or arrivals
--  19 payloads   hash    job id -> the JSON that was submitted with it; the record says that there is one
--  20 results    hash    job id -> what it gave, packed: {content type, length, the first 4 KiB}; and under the id
--                        and a newline, which no id has, the rest of a longer one
--  21 changed    set     ids of watched jobs that changed since somebody last asked
-- ARGV:
--   1 queue db   2 jobs db   3 prefix of idempotency keys (queue db)   4 prefix of jobs' hashes (jobs db)
--   from 5 on: each script's own
--
-- A record is a table; what never happened is absent. There is none from submit until the first claim.
--   payload, watched (true), max_attempts, timeout (ms)    as submitted: the job's for good, through all its runs
--   item           the raw item, if it is not the one that we would write
--   token, worker, holder, lease (ms), claimed (ms)    of the run under way
--   cancel         true: its cancellation was asked for during the run under way
--   attempts       runs begun        failures  handler failed or timed out     lost   worker gone
--   interruptions  given back        tries     looks at an id without a hash
--   ended, answer  the token of a run that ended in another way than completing, and what finish answered
--   done           the token that completed it         finished (ms)  when it was complete or cancelled
--   reason         why it is dead    error     the last one, at most 1 KiB
--   history        list of {at (ms), what, error}, the last ten
--   progress       {percent or false, message} of the last run
--   started (ms), pod    of the last run, if the job is watched: they outlast the run
--
-- The rules that all of them keep, because a script that fails does not roll back:
--   * read and check everything first, write after; what one item has wrong is that item's answer, not an error
--   * the first write is one that a full server does not refuse (submit's is one that it does)
--   * each writes something in any case, so that a replica refuses it and never answers in the master's stead
--   * read TIME once; no number is ever turned into text by `..`

local call = redis.call
local MAIN, ARRIVALS, LEASES, HELD, HOLDS, DELAYED, DEAD, INDEX, WORKERS = unpack(KEYS, 1, 9)
local BEATS, CLAIMS, QUIET, EPOCH, TICKS, COUNTS, RECORDS, FINISHED, CANCELLED, PAYLOADS, RESULTS, CHANGED =
  unpack(KEYS, 10, 21)
local QUEUE_DB, JOBS_DB, IDEMPOTENCY, HASH = unpack(ARGV, 1, 4)

-- Wherever the caller's connection stands; it will stand there again afterwards.
call('SELECT', QUEUE_DB)

-- Where the calls go from now on; nothing is asked for where they go already.
local at_jobs = false
local function on_jobs()
  if not at_jobs and JOBS_DB ~= QUEUE_DB then
    call('SELECT', JOBS_DB)
    at_jobs = true
  end
end

local function on_queue()
  if at_jobs then
    call('SELECT', QUEUE_DB)
    at_jobs = false
  end
end

-- The server's time, Unix ms: read once, the same in all of a script.
local time
local function now_ms()
  if not time then
    local read = call('TIME')
    time = read[1] * 1000 + math.floor(read[2] / 1000)
  end
  return time
end

-- Redis 7 passes a table on as it is; 6.2 knows texts only.
local function raise(text)
  error(redis.acl_check_cmd and { err = text } or text)
end

-- Raises what Redis would raise in the middle: a right that this user lacks. (Redis 6.2 cannot be asked; there
-- the check at start has to do.)
local function require_right(command, key, ...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, key, ...) then
    raise('NOPERM this user may not run ' .. command .. ' on ' .. key)
  end
end

local function require_rights(commands)
  for _, command in ipairs(commands) do require_right(unpack(command)) end
end

local function require_held()
  local held = call('GET', HELD)
  if held and not string.find(held, '^%d+$') then
    raise('WRONGTYPE ' .. HELD .. ' is not a number')
  end
end

-- Reads a key that may be of another type, and answers nil then. Every other error is raised again.
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then raise(reply.err) end
  return nil
end

local TERMINAL = { complete = true, failed = true, cancelled = true }

-- On the jobs database: a job's status, '' if it has none, nil if its hash is gone or is none.
local function status_of(id)
  local status = redis.pcall('HGET', HASH .. id, 'status')
  if type(status) == 'string' then return status end
  -- It has no status, or is gone, or is none; what else may be wrong is raised.
  if (try('HLEN', HASH .. id) or 0) > 0 then return '' end
  return nil
end

-- The table that was packed; nil for anything else, which a program that is not ours must have put there. Never raises:
-- one entry that cannot be read must not keep a script from the others.
local function unpacked(packed)
  local is_pack, value = pcall(cmsgpack.unpack, packed)
  if is_pack and type(value) == 'table' then return value end
end

-- How many records read_records could not unpack; write_records counts them.
local n_unreadable = 0

-- Answers {[id] = record}; without those that have none, or one that cannot be unpacked. `shared`: ids with
-- equal records, as those of one claim have, get the same table; it must not be changed then.
local function read_records(ids, shared)
  local records, known = {}, {}
  if #ids == 0 then return records end
  local packed = call('HMGET', RECORDS, unpack(ids))
  for i = 1, #ids do
    local one = packed[i]
    local record = one and known[one]
    if one and not record then
      record = unpacked(one)
      if not record then n_unreadable = n_unreadable + 1 end
      if shared then known[one] = record end
    end
    if record then records[ids[i]] = record end
  end
  return records
end

-- What records are to be when the script is over.
local records_after = {}

-- Takes {[id] = record, or false for none}; at most 3,000. A table that is given for many ids is packed once.
local function write_records(records)
  local kept, n, dropped, packed = {}, 0, {}, {}
  for id, record in pairs(records) do
    if record then
      local one = packed[record]
      if not one then
        one = cmsgpack.pack(record)
        packed[record] = one
      end
      kept[n + 1] = id
      kept[n + 2] = one
      n = n + 2
    else
      dropped[#dropped + 1] = id
    end
  end
  if n > 0 then call('HSET', RECORDS, unpack(kept)) end
  if #dropped > 0 then call('HDEL', RECORDS, unpack(dropped)) end
  if n_unreadable > 0 then call('HINCRBY', COUNTS, 'unreadable', n_unreadable) end
end

local MAX_HISTORY, MAX_ERROR_BYTES = 10, 1024

-- Remembers something of a job's past, and its error if there was one.
local function past(record, at, what, text)
  if text and text ~= '' then record.error = string.sub(text, 1, MAX_ERROR_BYTES) else text = nil end
  local history = { unpack(record.history or {}) }
  history[#history + 1] = { at, what, text and record.error }
  if #history > MAX_HISTORY then table.remove(history, 1) end
  record.history = history
end

-- Whether a job with a limit of its own has no run left; how each ended badly does not matter then.
local function has_spent_its_own(record)
  return record.max_attempts and (record.failures or 0) + (record.lost or 0) >= record.max_attempts
end

-- A score as a text. Redis writes each number that it is given as one, and that takes longer than all else.
local function score(number)
  return string.format('%.0f', number)
end

-- Takes {id, status, id, status, ...}. The last that a script does: it ends on the jobs' database.
local function write_statuses(statuses)
  if #statuses == 0 then return end
  on_jobs()
  for i = 1, #statuses, 2 do
    local key, status = HASH .. statuses[i], statuses[i + 1]
    call('HSET', key, 'status', status)
    -- What waits again looks as if nobody had taken it.
    if status == 'submitted' then call('HDEL', key, 'worker') end
  end
end

-- Raises what would stop the writing in its middle of what runs begin and end with alike.
local function check_bookkeeping()
  require_right('INCRBY', HELD, '1')
  require_right('HINCRBY', HOLDS, 'a', '1')
  require_right('HDEL', HOLDS, 'a')
  require_right('HSET', RECORDS, 'a', '')
  require_right('HSET', HASH .. 'x', 'a', '')
  require_held()
  call('HLEN', HOLDS)
  call('HLEN', COUNTS)
end

-- Counts how many more jobs are held than before, in all and by whom ({[holder] = how many}). What stays as it was is
-- not written. Call it after the first write.
local function change_held(more, by_holder)
  local held = more ~= 0 and call('INCRBY', HELD, more) or 0
  -- Somebody meddled with it; a tick puts it right.
  if held < 0 then call('INCRBY', HELD, -held) end
  for holder, n in pairs(by_holder) do
    if n ~= 0 and call('HINCRBY', HOLDS, holder, n) <= 0 then call('HDEL', HOLDS, holder) end
  end
end

local function count(name, n)
  if n > 0 then call('HINCRBY', COUNTS, name, n) end
end

-- The pickle that we would write for a job (item.rs).
local function canonical(id)
  return '\128\2X' .. struct.pack('<I4', #id) .. id .. 'q\0.'
end

-- How the queue's programs write an item; who puts jobs back is told it (settings.lua).
local SERIALIZER

-- The item by which a job goes back: as it came, else as the queue's programs write it (item.rs).
local function item_for(id, record)
  if record and record.item then return record.item end
  if SERIALIZER == 'json' then return '"' .. string.gsub(id, '[\\"]', '\\%0') .. '"' end
  -- Bare, but for what would be read as something else.
  if SERIALIZER == 'none' and not string.find(id, '^"') and not string.find(id, '^U.*%.$') then return id end
  return canonical(id)
end
