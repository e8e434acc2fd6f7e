-- What a worker told of itself, and how it is marked: {nonce, pod UID, pod name, IP, host name, held by its holder, mark
-- ("", "quiet", "drain"), ms that the mark lasts, ms until it no longer counts as alive}. Of an entry that cannot be read
-- nothing is known but the nonce.

local function worker_row(nonce, packed, alive)
  local about = packed and unpacked(packed) or {}
  for i = 1, 5 do
    if type(about[i]) ~= 'string' then about = { '', '', '', '', nonce } end
  end
  local uid, name, ip, host, holder = unpack(about, 1, 5)
  local ends, kind = string.match(call('HGET', QUIET, holder) or '', '^(%d+) (%a+)$')
  local lasts = ends and tonumber(ends) - now_ms() or 0
  return { nonce, uid, name, ip, host, tonumber(call('HGET', HOLDS, holder)) or 0, lasts > 0 and (kind == 'quiet' or kind == 'drain') and kind or '',
    math.max(lasts, 0), alive }
end
