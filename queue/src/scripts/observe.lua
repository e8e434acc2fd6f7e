-- How long the queue is: all of it at one moment, so that no job is missed between two places. Writes nothing.
--
-- KEYS, and only these: Redis tracks what a script declares, and tells us of the next change to one of them.
--   1 main   2 arrivals   3 held   4 delayed   5 cancelled   6 changed
-- ARGV: 1 queue db   2 index   3 dead   4 counts   from 5 on: the counts asked for
-- Answer: {waiting, arrivals, running, delayed, due, dead, next due (ms) or false, oldest (us) or false, now (ms),
--   role, run_id, watched jobs that changed, {each count}}; what is only there to be dropped by a claim, because it was cancelled, is not
--   waiting

local call = redis.call
local MAIN, ARRIVALS, HELD, DELAYED, CANCELLED, CHANGED = unpack(KEYS)
local QUEUE_DB, INDEX, DEAD, COUNTS = unpack(ARGV, 1, 4)

call('SELECT', QUEUE_DB)
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waiting, arrivals = call('LLEN', MAIN), call('LLEN', ARRIVALS)
local delayed = call('ZCARD', DELAYED)
local due, next_due = 0, false
if delayed > 0 then
  due = call('ZCOUNT', DELAYED, '-inf', now)
  next_due = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
end
local oldest = false
if arrivals + waiting > 0 then
  local head = call('LINDEX', ARRIVALS, 0) or call('LINDEX', MAIN, 0)
  local id = id_of(head)
  -- No nil, at which the answer would end.
  oldest = id and call('ZSCORE', INDEX, id) or false
end
local counts = call('HMGET', COUNTS, unpack(ARGV, 5))
for i = 1, #ARGV - 4 do counts[i] = tonumber(counts[i]) or 0 end
waiting = math.max(0, waiting - call('SCARD', CANCELLED))
return {
  waiting, arrivals, tonumber(call('GET', HELD)) or 0, delayed, due, call('ZCARD', DEAD), next_due, oldest, now,
  string.match(call('INFO', 'replication'), 'role:(%a+)') or '',
  string.match(call('INFO', 'server'), 'run_id:(%x+)') or '', call('SCARD', CHANGED), counts,
}
