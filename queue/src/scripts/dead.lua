-- One page of the dead, newest first. Writes nothing.
--
-- ARGV: 5 the time to begin at (Unix ms), or "+inf"   6 how many of that time to pass over   7 how many
-- Answer: first {time, how many of that time to pass over} where the next page begins, or false at the end; then
--   for each {member, since (ms), account (account.lua), false or {id, status, start, end, worker, submitted (us)}}

local FROM, PASSED, LIMIT = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local found = call('ZREVRANGEBYSCORE', DEAD, FROM, '-inf', 'WITHSCORES', 'LIMIT', PASSED, LIMIT + 1)
local members, since = {}, {}
for i = 1, math.min(#found / 2, LIMIT) do members[i], since[i] = found[2 * i - 1], found[2 * i] end

local next_page = false
if #found / 2 > LIMIT then
  local at, passed = found[2 * LIMIT + 2], 0
  for i = LIMIT, 1, -1 do
    if since[i] ~= at then break end
    passed = passed + 1
  end
  if passed == LIMIT and at == FROM then passed = passed + PASSED end
  next_page = { tonumber(at), passed }
end

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
