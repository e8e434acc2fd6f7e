-- The clock may have been put back, and the times of delayed jobs be on their way to the new time (guarding.lua): what is
-- delayed meanwhile is entered in the time of those beside which it will stand. `delayed`: {due, id, ...}, which is changed.
local function enter_as_others(delayed)
  local step, step_at, step_next = unpack(call('HMGET', TICKS, 'step', 'step_at', 'step_next'))
  if not step then return end
  local at = tonumber(string.match(step_at or '', '^%S+'))
  for i = 1, #delayed, 2 do
    local due = delayed[i] + (tonumber(step_next) or 0)
    local before = due + step
    -- Not where the position stands, beside which it would be moved or not by its name.
    if not at or before >= at then due = at and math.max(before, at + 1) or before end
    delayed[i] = due
  end
end
