-- After an outage, a failover or a step of the clock every lease and every worker gets its whole time again, and where the
-- clock was put back every delayed job is due as much earlier. A call handles a part, so that none takes long. Nothing is
-- reaped or struck off before the last part. Each part begins where the one before it ended, so another worker can go on
-- when the one that began is gone. A lease that is met twice gets its time twice, which does no harm.
--
-- `ticks` holds how far it is:
--   guard_leases, guard_beats   "<score> <member>", the lowest that had its time; empty at the start; absent at the end
--   step, step_at               by how many ms the delayed ones are moved, and "<score> <member>" of the last that was, by
--                               the old time; those below are in the new time, and it and those above in the old one
--   step_next                   by how many ms the clock was put back since then: moved by that once the first step is done

local GUARD_LIMIT = 1000

local function start_guard(elapsed)
  call('HSET', TICKS, 'guard_leases', '', 'guard_beats', '')
  if not elapsed or elapsed >= 0 or call('ZCARD', DELAYED) == 0 then return end
  local field = call('HGET', TICKS, 'step') and 'step_next' or 'step'
  local before = tonumber(call('HGET', TICKS, field) or 0)
  call('HSET', TICKS, field, score(before - elapsed))
end

local function position_of(text)
  return string.match(text or '', '^(%S+) (.*)$')
end

-- From the highest score down: what has its time stands higher then, or is met once more. Answers whether there are more.
local function guard_next(field, key, new_ends)
  local place = call('HGET', TICKS, field)
  if not place then return false end
  local at, member = position_of(place)
  local below = at and count_below(key, at, member) or call('ZCARD', key)
  local page = below > 0 and call('ZRANGE', key, math.max(0, below - GUARD_LIMIT), below - 1, 'WITHSCORES') or {}
  if #page > 0 then call('ZADD', key, unpack(new_ends(page))) end
  if below <= GUARD_LIMIT then
    call('HDEL', TICKS, field)
    return false
  end
  call('HSET', TICKS, field, page[2] .. ' ' .. page[1])
  return true
end

-- From the lowest score up: what was moved stands lower than what was not.
local function move_next_delayed()
  local step, step_at = unpack(call('HMGET', TICKS, 'step', 'step_at'))
  if not step then return false end
  local at, member = position_of(step_at)
  local from = at and count_below(DELAYED, at, member) or 0
  local page = call('ZRANGE', DELAYED, from, from + GUARD_LIMIT - 1, 'WITHSCORES')
  local moved = {}
  for i = 1, #page, 2 do moved[i], moved[i + 1] = score(page[i + 1] - step), page[i] end
  if #moved > 0 then call('ZADD', DELAYED, unpack(moved)) end
  if #page == 2 * GUARD_LIMIT then
    call('HSET', TICKS, 'step_at', page[#page] .. ' ' .. page[#page - 1])
    return true
  end
  local step_next = call('HGET', TICKS, 'step_next')
  call('HDEL', TICKS, 'step', 'step_at', 'step_next')
  if step_next then call('HSET', TICKS, 'step', step_next) end
  return step_next ~= false
end

-- One part. Answers whether there are more. `lease`: ms, of those whose record tells none; `alive`: ms, of each worker.
local function guard_some(lease, alive)
  local now = now_ms()
  local leases = guard_next('guard_leases', LEASES, function(page)
    local ids, ends = {}, {}
    for i = 1, #page, 2 do ids[#ids + 1] = page[i] end
    local records = read_records(ids)
    for i, id in ipairs(ids) do
      local own = records[id] and tonumber(records[id].lease)
      ends[2 * i - 1], ends[2 * i] = score(now + (own or lease)), id
    end
    return ends
  end)
  local beats = guard_next('guard_beats', BEATS, function(page)
    local ends = {}
    for i = 1, #page, 2 do ends[i], ends[i + 1] = score(now + alive), page[i] end
    return ends
  end)
  local delayed = move_next_delayed()
  return leases or beats or delayed
end
