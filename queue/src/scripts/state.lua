-- How far jobs are: for each false if it has no hash, else {status, worker's IP, its pod's name, {attempts, failures,
-- lost}, {submitted (us), started, finished, due (ms)}, false or {percent or false, message}, reason, error, false or
-- {content type, length, the first 4 KiB} of its result}; what else is absent is 0, false or an empty text.

local function state_of(fields, record, times, packed)
  local status, worker = fields[1] or '', fields[4]
  local over = not LIVE[status]
  return {
    status, worker, worker and record.pod or '',
    { record.attempts or 0, record.failures or 0, record.lost or 0 },
    { times.submitted, record.claimed or record.started or false, over and times.ended or false, times.due },
    record.progress or false, record.reason or '', record.error or '',
    status == 'complete' and head_of(packed) or false,
  }
end

local function states_of(ids)
  local states = {}
  if #ids == 0 then return states end
  local records, packed = read_records(ids), call('HMGET', RESULTS, unpack(ids))
  local submitted, due = call('ZMSCORE', INDEX, unpack(ids)), call('ZMSCORE', DELAYED, unpack(ids))
  local finished, dead = call('ZMSCORE', FINISHED, unpack(ids)), call('ZMSCORE', DEAD, unpack(ids))
  on_jobs()
  for i, id in ipairs(ids) do
    local fields = try('HMGET', HASH .. id, 'status', 'start', 'end', 'worker')
    local known = fields and (fields[1] or fields[2] or fields[3])
    local times = { submitted = submitted[i], due = due[i], ended = finished[i] or dead[i] }
    states[i] = known and state_of(fields, records[id] or {}, times, packed[i]) or false
  end
  on_queue()
  return states
end
