-- {[id] = true} of all items that wait, as long as these are no more than `limit`; else nil: nobody can say then what a longer
-- list holds without holding the server.
local function line_of(limit)
  if call('LLEN', MAIN) + call('LLEN', ARRIVALS) > limit then return nil end
  local line = {}
  for _, list in ipairs({ ARRIVALS, MAIN }) do
    for _, item in ipairs(call('LRANGE', list, 0, -1)) do
      local id = id_of(item)
      if id then line[id] = true end
    end
  end
  return line
end
