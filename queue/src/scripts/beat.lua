-- Enters a worker into the registry, or shows that it is still alive.
--
-- ARGV: 5 nonce   6 how long it counts as alive, ms   7 pod UID   8 pod name   9 IP   10 host name   11 holder

require_rights({ { 'HDEL', WORKERS, '' }, { 'HSET', WORKERS, '', '' }, { 'ZADD', BEATS, 0, '' } })
call('HLEN', WORKERS)
call('ZCARD', BEATS)
local now = now_ms()
-- A write that a full server does not refuse, so that it lets the rest through.
call('HDEL', WORKERS, '')
call('HSET', WORKERS, ARGV[5], cmsgpack.pack({ ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11] }))
call('ZADD', BEATS, now + tonumber(ARGV[6]), ARGV[5])
return 1
