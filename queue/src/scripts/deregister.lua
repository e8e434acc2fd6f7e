-- Strikes a worker off the registry. What it holds stays leased until it is given back or reaped.
--
-- ARGV: 5 nonce

require_rights({ { 'HDEL', WORKERS, '' }, { 'ZREM', BEATS, '' }, { 'HDEL', CLAIMS, '' } })
call('HLEN', WORKERS)
call('ZCARD', BEATS)
call('HLEN', CLAIMS)
call('HDEL', WORKERS, ARGV[5])
call('ZREM', BEATS, ARGV[5])
call('HDEL', CLAIMS, ARGV[5])
return 1
