-- The next part of what a tick began to do after an outage (guarding.lua).
--
-- ARGV: 5 lease of those whose record tells none, ms   6 how long a worker counts as alive after a beat, ms
-- Answer: 1 if there is more to do, else 0

require_rights({
  { 'ZREM', DELAYED, '' }, { 'ZADD', DELAYED, 0, '' }, { 'ZADD', LEASES, 0, '' }, { 'ZADD', BEATS, 0, '' },
  { 'HSET', TICKS, 'a', '' }, { 'HDEL', TICKS, 'a' },
})
require_types()
call('ZCARD', BEATS)
call('HLEN', TICKS)
-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', DELAYED, '')
return guard_some(tonumber(ARGV[5]), tonumber(ARGV[6])) and 1 or 0
