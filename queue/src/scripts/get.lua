-- Looks a job up. Writes nothing.
--
-- ARGV: 5 id
-- Answer: {{id, status, start, end, worker, submitted (Unix us)}, false or {percent or false, message} of its last run,
--   false or its payload}; or false if it has no hash. What is absent is an empty text, and worker false.

local ID = ARGV[5]
local record = read_records({ ID })[ID] or {}
local payload, submitted = record.payload and call('HGET', PAYLOADS, ID), call('ZSCORE', INDEX, ID)
on_jobs()
local fields = try('HMGET', HASH .. ID, 'status', 'start', 'end', 'worker', 'id')
on_queue()
if not fields or not (fields[1] or fields[2] or fields[3] or fields[5]) then return false end
return {
  { ID, fields[1] or '', fields[2] or '', fields[3] or '', fields[4], submitted }, record.progress or false,
  payload or false,
}
