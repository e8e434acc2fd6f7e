-- A queue for people: how long it is, and what each worker holds; all of one moment. Writes nothing.
--
-- ARGV: 5 how many workers at most   6 how many leases are looked at   from 7 on: the counts asked for
-- Answer: {waiting, running, delayed, dead, oldest submitted (us) or false, next due (ms) or false, now (ms),
--   workers known, {each count}, {worker...}}, a worker being {worker_row (registry.lua), {id of a job that it holds...}}

local WORKERS_MAX, LEASES_MAX = tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_ms()

local function holdings()
  local ids = call('ZREVRANGE', LEASES, 0, LEASES_MAX - 1)
  local records, held = read_records(ids), {}
  for _, id in ipairs(ids) do
    local worker = records[id] and records[id].worker
    if worker then
      held[worker] = held[worker] or {}
      table.insert(held[worker], id)
    end
  end
  return held
end

local function workers()
  local beats = call('ZREVRANGEBYSCORE', BEATS, '+inf', '(' .. score(now), 'WITHSCORES', 'LIMIT', 0, WORKERS_MAX)
  local nonces, rows = {}, {}
  for i = 1, #beats, 2 do nonces[#nonces + 1] = beats[i] end
  if #nonces == 0 then return rows end
  local packed, held = call('HMGET', WORKERS, unpack(nonces)), holdings()
  for i, nonce in ipairs(nonces) do
    rows[i] = { worker_row(nonce, packed[i], beats[2 * i] - now), held[nonce] or {} }
  end
  return rows
end

local waiting, head = call('LLEN', MAIN) + call('LLEN', ARRIVALS), false
if waiting > 0 then head = call('LINDEX', ARRIVALS, 0) or call('LINDEX', MAIN, 0) end
local oldest = head and id_of(head)
local counts = call('HMGET', COUNTS, unpack(ARGV, 7))
for i = 1, #ARGV - 6 do counts[i] = tonumber(counts[i]) or 0 end
return {
  math.max(0, waiting - call('SCARD', CANCELLED)), tonumber(call('GET', HELD)) or 0, call('ZCARD', DELAYED),
  call('ZCARD', DEAD), oldest and call('ZSCORE', INDEX, oldest), call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2] or false,
  now, call('ZCOUNT', BEATS, '(' .. score(now), '+inf'), counts, workers(),
}
