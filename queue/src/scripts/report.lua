-- Keeps how far runs are, for who bears the token; another token changes nothing.
--
-- ARGV from 5: id, token, percent (empty: unknown), message; again and again.

require_rights({ { 'HDEL', RECORDS, '' }, { 'HSET', RECORDS, '', '' }, { 'SADD', CHANGED, '' } })
call('SCARD', CHANGED)
local ids = {}
for i = 5, #ARGV, 4 do ids[#ids + 1] = ARGV[i] end
local records, reported, watched = read_records(ids), {}, {}
for i, id in ipairs(ids) do
  local at, record = 4 * i + 1, records[id]
  if record and record.token == ARGV[at + 1] then
    record.progress = { tonumber(ARGV[at + 2]) or false, ARGV[at + 3] }
    reported[id] = record
    if record.watched then watched[#watched + 1] = id end
  end
end

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('HDEL', RECORDS, '')
write_records(reported)
if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
return 1
