-- Gives leases their whole time again, to who bears the token; also those past their end that nobody reaped yet.
--
-- ARGV: 5 lease, ms; from 6: id, token; again and again.
-- Answer for each: 0 renewed   1 lost (another's, or its hash is gone)   2 renewed, but the job is to be cancelled

local LEASE = tonumber(ARGV[5])
require_rights({ { 'ZREM', LEASES, '' }, { 'ZADD', LEASES, 0, '' } })
call('ZCARD', LEASES)
local now = now_ms()

local ids, answers = {}, {}
for i = 6, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local records = read_records(ids)
on_jobs()
for i, id in ipairs(ids) do
  local record = records[id]
  local status = record and record.token == ARGV[2 * i + 5] and status_of(id)
  answers[i] = not status and 1 or (record.cancel or status == 'cancelled') and 2 or 0
end
on_queue()

-- A write that a full server does not refuse, so that it lets the rest through.
call('ZREM', LEASES, '')
local leases = {}
for i, id in ipairs(ids) do
  if answers[i] ~= 1 then leases[#leases + 1], leases[#leases + 2] = now + LEASE, id end
end
if #leases > 0 then call('ZADD', LEASES, unpack(leases)) end
return answers
