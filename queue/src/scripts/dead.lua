-- One page of the dead, newest first. Writes nothing.
--
-- ARGV: 5, 6 since when (Unix ms) and which the last of the page before was; "+inf" and "" for the first page   7 how many
-- Answer: first {since, member} after which the next page begins, or false at the end; then for each {member, since (ms),
--   account (account.lua), false or {id, status, start, end, worker, submitted (us)}}

local members, since, next_page = page_of(DEAD, ARGV[5], ARGV[6], tonumber(ARGV[7]))
local records, page, submitted = read_records(members), { next_page }, {}
if #members > 0 then submitted = call('ZMSCORE', INDEX, unpack(members)) end
on_jobs()
for i, member in ipairs(members) do
  local job = try('HMGET', HASH .. member, 'status', 'start', 'end', 'worker')
  job = job and (job[1] or job[2] or job[3])
    and { member, job[1] or '', job[2] or '', job[3] or '', job[4], submitted[i] }
  page[i + 1] = { member, tonumber(since[i]), account_of(records[member] or {}), job or false }
end
return page
