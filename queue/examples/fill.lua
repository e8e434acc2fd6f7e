-- Puts jobs in as our API submits them, on the server's side, which is many times faster than through a producer.
--
-- KEYS: 1 list   2 index   3 records   4 payloads      ARGV: 1 how many   2 how many there are   3 payload of each, or ''

for i = 1, tonumber(ARGV[1]) do
  local number = tonumber(ARGV[2]) + i
  local id = string.format('%08x-0000-4000-8000-%012d', (number * 2654435761) % 4294967296, number)
  redis.call('SELECT', 3)
  redis.call('HSET', 'job.' .. id, 'id', id, 'status', 'submitted', 'start', 'go!', 'end', 'stop!')
  redis.call('SELECT', 2)
  redis.call('ZADD', KEYS[2], string.format('%.0f', 1700000000000000 + number), id)
  redis.call('RPUSH', KEYS[1], '\128\2X\36\0\0\0' .. id .. 'q\0.')
  if ARGV[3] ~= '' then
    redis.call('HSET', KEYS[3], id, cmsgpack.pack({ payload = true }))
    redis.call('HSET', KEYS[4], id, ARGV[3])
  end
end
