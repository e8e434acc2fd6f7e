-- The other steps of a claim: judges what was looked at, checks, and writes.

-- What the records of jobs have in common that are taken for the first time.
local first_run
local taken, n_taken, leases, lease_ends = {}, 0, {}, nil

local function take(id, record, fields)
  records_after[id] = record
  n_taken = n_taken + 1
  taken[n_taken] = id
  leases[2 * n_taken - 1] = lease_ends
  leases[2 * n_taken] = id
  answer_with(id, fields[2], fields[3], record)
end

-- The record of a job that has one already, or whose item is another than ours.
local function another_run(i)
  local id, record = ids[i], records[ids[i]] or {}
  if dead[i] or delayed[i] or record.finished or record.watched then
    local all = oddities()
    if dead[i] then all.revived[#all.revived + 1] = id end
    if delayed[i] then all.undelayed[#all.undelayed + 1] = id end
    if record.finished then
      all.unfinished[#all.unfinished + 1] = id
      all.outdated[#all.outdated + 1], all.outdated[#all.outdated + 2] = id, id .. '\n'
    end
    if record.watched then all.watched[#all.watched + 1] = id end
    -- Somebody set a finished or a dead job back to submitted: it begins anew.
    if dead[i] or record.finished then record = begin_anew(record) end
  end
  record.item = nil
  -- What a queue's programs cannot tell from ours goes back as they write it, all else as it came.
  if not ours[i] and raws[i] ~= canonical(id) and raws[i] ~= item_for(id) then record.item = raws[i] end
  record.attempts = (record.attempts or 0) + 1
  record.tries, record.reason, record.ended, record.answer, record.cancel, record.progress = nil
  record.token, record.worker, record.holder, record.lease, record.claimed = TOKEN, WORKER, HOLDER, LEASE, now_ms()
  return record
end

-- A producer that pushes before it writes the hash gets the time to do so.
local function wait_for_hash(i)
  local id, record, all = ids[i], records[ids[i]] or {}, oddities()
  drop('orphans')
  record.tries = (record.tries or 0) + 1
  if record.tries < ORPHAN_TRIES then
    record.item = raws[i]
    records_after[id] = record
    all.redelayed[#all.redelayed + 1] = now_ms() + ORPHAN_WAIT
    all.redelayed[#all.redelayed + 1] = id
    if dead[i] then all.revived[#all.revived + 1] = id end
    return
  end
  record.tries = nil
  if delayed[i] then all.undelayed[#all.undelayed + 1] = id end
  bury(id, record, raws[i], 'no hash')
end

-- A job that has ended, or whose hash has no status, or is none.
local function judge_odd(i, fields)
  local id = ids[i]
  local length = fields[1] and 1 or try('HLEN', HASH .. id)
  if not length then
    drop('garbage')
    bury(id, records[id] or {}, raws[i], 'its hash is of another type')
  elseif length > 0 and not TERMINAL[fields[1]] then
    take(id, another_run(i), fields)
  elseif tombstones[i] == 1 then
    drop('dropped_cancelled')
  elseif length > 0 then
    drop('dropped_terminal')
  else
    wait_for_hash(i)
  end
end

-- On the jobs' database.
local function judge_items()
  lease_ends = score(now_ms() + LEASE)
  first_run = { token = TOKEN, worker = WORKER, holder = HOLDER, lease = LEASE, claimed = now_ms(), attempts = 1 }
  for i = 1, n_ids do
    local id = ids[i]
    local record = records[id]
    if tombstones[i] == 1 then table.insert(oddities().entombed, id) end
    if leased[i] or records_after[id] ~= nil or (delayed[i] and not (record and record.tries)) then
      -- It runs, or has until now, or will when its time comes.
      drop('duplicates')
    else
      local fields = redis.pcall('HMGET', HASH .. id, 'status', 'start', 'end')
      local status = fields[1]
      if not status or TERMINAL[status] then
        judge_odd(i, fields)
      elseif record or dead[i] or delayed[i] or not ours[i] then
        take(id, another_run(i), fields)
      else
        take(id, first_run, fields)
      end
    end
  end
end

local function check_odd()
  local all = odd
  require_rights({ { 'ZREM', DELAYED, '' }, { 'SREM', CANCELLED, '' } })
  if #all.buried > 0 then call('ZCARD', DEAD) end
  if #all.redelayed > 0 then
    call('ZCARD', DELAYED)
    enter_as_others(all.redelayed)
  end
  if #all.unfinished > 0 then
    call('ZCARD', FINISHED)
    call('HLEN', RESULTS)
  end
  if #all.watched == 0 then return end
  require_right('SADD', CHANGED, '')
  call('SCARD', CHANGED)
  -- What somebody may want to know of a watched job's last run is kept when it is over.
  local about = call('HGET', WORKERS, WORKER)
  local pod = about and (unpacked(about) or {})[2]
  for _, id in ipairs(all.watched) do
    local record = records_after[id]
    if record.token == TOKEN then record.started, record.pod = now_ms(), type(pod) == 'string' and pod or nil end
  end
end

-- Raises what would stop the writing in its middle.
local function check_claim()
  require_right('ZADD', LEASES, '0', '')
  -- One of the two begins the writing; not both.
  if n_arrived > 0 and n_waiting > 0 then require_right('LPOP', MAIN) end
  if n_ids == 0 then
    call('HLEN', RECORDS)
    call('ZCARD', LEASES)
  end
  if odd then check_odd() end
  add_payloads()
end

local function write_odd()
  local all = odd
  if #all.undelayed > 0 then call('ZREM', DELAYED, unpack(all.undelayed)) end
  if #all.revived > 0 then call('ZREM', DEAD, unpack(all.revived)) end
  if #all.unfinished > 0 then
    call('ZREM', FINISHED, unpack(all.unfinished))
    call('HDEL', RESULTS, unpack(all.outdated))
  end
  if #all.watched > 0 then call('SADD', CHANGED, unpack(all.watched)) end
  if #all.entombed > 0 then call('SREM', CANCELLED, unpack(all.entombed)) end
  if #all.buried > 0 then call('ZADD', DEAD, unpack(all.buried)) end
  if #all.redelayed > 0 then call('ZADD', DELAYED, unpack(all.redelayed)) end
  for name, n in pairs(all.tally) do count(name, n) end
end

-- All but the records and the hashes. Begins with LPOP, which a full server does not refuse.
local function write_claim()
  if n_arrived > 0 then call('LPOP', ARRIVALS, n_arrived) end
  if n_waiting > 0 then call('LPOP', MAIN, n_waiting) end
  if odd then write_odd() end
  if n_taken == 0 then return end
  call('ZADD', LEASES, unpack(leases))
  call('HSET', CLAIMS, WORKER, NONCE .. '\n' .. table.concat(taken, '\n'))
  call('HINCRBY', COUNTS, 'claimed', n_taken)
end

-- The last: it ends on the jobs' database.
local function write_taken()
  if n_taken == 0 then return end
  on_jobs()
  for i = 1, n_taken do call('HSET', HASH .. taken[i], 'status', 'in progress', 'worker', IP) end
end
