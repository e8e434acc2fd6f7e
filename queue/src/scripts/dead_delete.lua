-- Forgets dead jobs: record, payload, place in the index, and hash together. A hash that does not say that its job has
-- ended is somebody's who began anew, and stays with what was submitted.
--
-- ARGV from 5: members of the dead.
-- Answer: how many were among the dead.

require_rights({ { 'ZREM', DEAD, '' }, { 'HINCRBY', COUNTS, '', 1 }, { 'DEL', HASH .. 'x' } })
require_forgettable()
local members = { unpack(ARGV, 5) }
local since, seen = call('ZMSCORE', DEAD, unpack(members)), {}
local ids, forgotten, revived, hashes = {}, {}, {}, {}
on_jobs()
for i, member in ipairs(members) do
  if since[i] and not seen[member] then
    local status = status_of(member)
    seen[member], ids[#ids + 1] = true, member
    local list = (status and LIVE[status]) and revived or forgotten
    list[#list + 1] = member
    if status and not LIVE[status] then hashes[#hashes + 1] = HASH .. member end
  end
end
on_queue()
local watched, records_of_revived = watched_of(forgotten), read_records(revived)

-- A write that a full server does not refuse; and that a replica refuses.
call('ZREM', DEAD, '')
if #ids > 0 then
  call('ZREM', DEAD, unpack(ids))
  forget(forgotten, watched)
  let_begin_anew(revived, records_of_revived)
  count('deleted', #ids)
end
if #hashes > 0 then
  on_jobs()
  call('DEL', unpack(hashes))
  on_queue()
end
return #ids
