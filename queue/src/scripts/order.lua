-- Positions in sorted sets: a score and a member, which stand still while members come and go.

-- Equal scores stand in the order of their bytes, as Redis has them; `<` of Lua compares by the server's locale.
local function is_below(one, other)
  local byte = string.byte
  for i = 1, math.min(#one, #other) do
    local a, b = byte(one, i), byte(other, i)
    if a ~= b then return a < b end
  end
  return #one < #other
end

-- How many stand below a position, whether or not something stands there. Takes log2(n) looks.
local function count_below(key, at, member)
  local low = call('ZCOUNT', key, '-inf', '(' .. at)
  local high = low + call('ZCOUNT', key, at, at)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_below(call('ZRANGE', key, middle, middle)[1], member) then low = middle + 1 else high = middle end
  end
  return low
end
