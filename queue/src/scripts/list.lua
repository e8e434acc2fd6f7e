-- One page of jobs, newest first. Writes nothing.
--
-- ARGV: 5 the time to begin below (Unix us), or "+inf"   6 how many
-- Answer: {place, id, status, start, end, worker} for each job that still has its hash, and first of all the
-- place where the next page begins, or false at the end.

local below = ARGV[5] == '+inf' and '+inf' or '(' .. ARGV[5]
local limit = tonumber(ARGV[6])
local ids = call('ZREVRANGEBYSCORE', INDEX, below, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
local more = #ids / 2 > limit
local page = { more and ids[2 * limit] or false }
on_jobs()
for i = 1, math.min(#ids / 2, limit) do
  local id, place = ids[2 * i - 1], ids[2 * i]
  local fields = try('HMGET', HASH .. id, 'status', 'start', 'end', 'worker')
  if fields and (fields[1] or fields[2] or fields[3]) then
    page[#page + 1] = { place, id, fields[1] or '', fields[2] or '', fields[3] or '', fields[4] }
  end
end
return page
