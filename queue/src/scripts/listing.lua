-- A page of a sorted set, highest first.

-- Answers the members, their scores, and {score, member} after which the next page begins, or false at the end. `at` is
-- "+inf" for the first page.
local function page_of(key, at, member, limit)
  local below = at == '+inf' and call('ZCARD', key) or count_below(key, at, member)
  local found = below > 0 and call('ZRANGE', key, math.max(0, below - limit), below - 1, 'WITHSCORES') or {}
  local members, scores, n = {}, {}, #found / 2
  for i = 1, n do members[i], scores[i] = found[2 * (n - i) + 1], found[2 * (n - i) + 2] end
  return members, scores, below > limit and { scores[n], members[n] } or false
end
