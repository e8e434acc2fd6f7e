-- One page of jobs, newest first. Writes nothing.
--
-- ARGV: 5, 6 when the last of the page before was submitted (Unix us) and which it was; "+inf" and "" for the first page
--   7 how many
-- Answer: first {submitted, id} after which the next page begins, or false at the end; then {submitted, id, status, start,
--   end, worker} for each job that still has its hash

local ids, places, next_page = page_of(INDEX, ARGV[5], ARGV[6], tonumber(ARGV[7]))
local page = { next_page }
on_jobs()
for i, id in ipairs(ids) do
  local fields = try('HMGET', HASH .. id, 'status', 'start', 'end', 'worker')
  if fields and (fields[1] or fields[2] or fields[3]) then
    page[#page + 1] = { places[i], id, fields[1] or '', fields[2] or '', fields[3] or '', fields[4] }
  end
end
return page
