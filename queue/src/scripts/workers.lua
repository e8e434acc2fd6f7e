-- The registry. Writes nothing.
--
-- Answer: worker_row (registry.lua) for each worker that counts as alive

local now, rows = now_ms(), {}
local beats = call('ZRANGEBYSCORE', BEATS, '(' .. score(now), '+inf', 'WITHSCORES')
for i = 1, #beats, 2 do
  local nonce = beats[i]
  rows[#rows + 1] = worker_row(nonce, call('HGET', WORKERS, nonce), beats[i + 1] - now)
end
return rows
