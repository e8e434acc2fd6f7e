-- What becomes of jobs when a run of theirs is over. Judged first, one by one, which writes nothing; then checked
-- and written together.

local endings = { finished = {}, dead = {}, delayed = {}, returned = {}, gone = {}, payloads = {}, changed = {} }

-- What every ending touches: the ids, {[holder] = minus how many}, {id, status, ...}. Lengths are counted along, for
-- `#` searches for them.
local ended, holders, statuses = {}, {}, {}
local n_ended, n_statuses, n_finished = 0, 0, 0

local OF_A_RUN = { token = true, worker = true, holder = true, lease = true, claimed = true, cancel = true }

-- The record as it is when the run is over: another table, for the old one may be other jobs' too.
local function without_run(record)
  local after = {}
  for name, value in pairs(record) do
    if not OF_A_RUN[name] then after[name] = value end
  end
  return after
end

-- `after` is the record from now on, false for none; `status` what the hash is to say, nil if that stays as it is.
local function end_run(id, record, after, status)
  local holder = record.holder or ''
  n_ended = n_ended + 1
  ended[n_ended] = id
  holders[holder] = (holders[holder] or 0) - 1
  records_after[id] = after
  if record.watched then endings.changed[#endings.changed + 1] = id end
  if status then
    statuses[n_statuses + 1] = id
    statuses[n_statuses + 2] = status
    n_statuses = n_statuses + 2
  end
end

-- Its hash is gone, so nothing of it is kept.
local function end_gone(id, record)
  end_run(id, record, false)
  endings.gone[#endings.gone + 1] = id
  if record.payload then endings.payloads[#endings.payloads + 1] = id end
end

-- All that end in one call end at the same time.
local at
local function all_at(now)
  at = at or score(now)
  return at
end

-- For good: complete, cancelled, or what a foreign program wrote meanwhile.
local function end_finished(id, record, after, now, status)
  end_run(id, record, after, status)
  after.item, after.finished = nil, now
  local finished = endings.finished
  finished[n_finished + 1] = all_at(now)
  finished[n_finished + 2] = id
  n_finished = n_finished + 2
end

local function end_dead(id, record, after, now, reason)
  end_run(id, record, after, 'failed')
  after.reason = reason
  local dead = endings.dead
  dead[#dead + 1], dead[#dead + 2] = all_at(now), id
end

-- To run again, but not before `due`.
local function end_delayed(id, record, after, due)
  end_run(id, record, after, 'submitted')
  local delayed = endings.delayed
  delayed[#delayed + 1], delayed[#delayed + 2] = due, id
end

-- To run again at once. Those that return first will be taken first.
local function end_returned(id, record, after)
  end_run(id, record, after, 'submitted')
  endings.returned[#endings.returned + 1] = item_for(id, record)
end

-- The exponential backoff with full jitter before the run after the `n`th bad one: anything below the least of
-- the cap and base * 2^(n-1). https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
local function backoff(n, base, cap)
  return math.floor(math.random() * math.min(cap, base * 2 ^ (n - 1)))
end

-- Raises what would stop the writing in its middle. The leases are written first, and check themselves.
local function check_endings()
  require_right('ZADD', FINISHED, '0', '')
  if #endings.delayed + #endings.returned > 0 then
    require_rights({ { 'LPUSH', MAIN, '' }, { 'HDEL', HASH .. 'x', 'a' } })
  end
  call('ZCARD', FINISHED)
  if #endings.dead > 0 then call('ZCARD', DEAD) end
  if #endings.delayed > 0 then
    call('ZCARD', DELAYED)
    enter_as_others(endings.delayed)
  end
  if #endings.gone > 0 then call('ZCARD', INDEX) end
  if #endings.returned > 0 then call('LLEN', MAIN) end
  if #endings.payloads > 0 then
    require_rights({ { 'HDEL', PAYLOADS, '' } })
    call('HLEN', PAYLOADS)
  end
  if #endings.changed > 0 then
    require_rights({ { 'SADD', CHANGED, '' } })
    call('SCARD', CHANGED)
  end
end

-- All but the statuses, which are another database's. Begins with a write that a full server does not refuse, so that
-- it lets the rest through; and that a replica refuses. Answers how many leases there are less.
local function write_endings()
  local all = endings
  local released = 0
  if n_ended > 0 then
    released = call('ZREM', LEASES, unpack(ended))
  else
    call('ZREM', LEASES, '')
  end
  if #all.finished > 0 then call('ZADD', FINISHED, unpack(all.finished)) end
  if #all.dead > 0 then call('ZADD', DEAD, unpack(all.dead)) end
  if #all.delayed > 0 then call('ZADD', DELAYED, unpack(all.delayed)) end
  if #all.gone > 0 then call('ZREM', INDEX, unpack(all.gone)) end
  if #all.payloads > 0 then call('HDEL', PAYLOADS, unpack(all.payloads)) end
  if #all.changed > 0 then call('SADD', CHANGED, unpack(all.changed)) end
  local n = #all.returned
  if n > 0 then
    local items = {}
    for i, item in ipairs(all.returned) do items[n + 1 - i] = item end
    call('LPUSH', MAIN, unpack(items))
  end
  return released
end
