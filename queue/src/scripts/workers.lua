-- The registry. Writes nothing.
--
-- Answer: for each worker {nonce, pod UID, pod name, IP, host name, held by its holder, mark ("", "quiet",
-- "drain"), ms that the mark lasts, ms until it no longer counts as alive}

local now = now_ms()
local beats, told = call('ZRANGE', BEATS, 0, -1, 'WITHSCORES'), {}
local packed = call('HGETALL', WORKERS)
for i = 1, #packed, 2 do told[packed[i]] = cmsgpack.unpack(packed[i + 1]) end
local rows = {}
for i = 1, #beats, 2 do
  local nonce, alive = beats[i], beats[i + 1] - now
  local uid, name, ip, host, holder = unpack(told[nonce] or { '', '', '', '', nonce })
  local ends, kind = string.match(call('HGET', QUIET, holder) or '', '^(%d+) (%a+)$')
  local lasts = ends and tonumber(ends) - now or 0
  if alive > 0 then
    rows[#rows + 1] = { nonce, uid, name, ip, host, tonumber(call('HGET', HOLDS, holder)) or 0,
      lasts > 0 and kind or '', math.max(lasts, 0), alive }
  end
end
return rows
