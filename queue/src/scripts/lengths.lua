-- How long another system's queue is: all of it at one moment. Writes nothing, and nothing of ours is there to be read.
--
-- KEYS: where jobs wait, then where they run. Redis tracks what a script declares.
-- ARGV: 1 db   2 how many of the keys are where jobs wait   from 3 on, for each key: its type, its consumer group or ''
-- Answer: {waiting, running, now (ms), role, run_id}, the last two empty where they are unknown. A key that does not exist holds nothing; one of another type is an error,
--   as nobody can say what is in it.

local call = redis.call
local DB, WAITING = ARGV[1], tonumber(ARGV[2])

local LENGTH = { list = 'LLEN', stream = 'XLEN', zset = 'ZCARD', set = 'SCARD', hash = 'HLEN' }
-- Where the server does not count what a group has not been given yet, as many entries are looked through.
local MOST = 1000

-- A flat list of names and values, as a table.
local function named(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- How many entries come after this one. (Before Redis 6.2 a range cannot exclude where it begins.)
local function entries_after(key, id)
  local entries = call('XRANGE', key, id, '+', 'COUNT', MOST + 1)
  if entries[1] and entries[1][1] == id then return #entries - 1 end
  return math.min(#entries, MOST)
end

-- A user may be denied INFO, and a proxy may leave out parts of it; lengths are read all the same.
local function info(section, pattern)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and string.match(text, pattern) or ''
end

-- What a group has not been given yet, and what it has pending. A group that is not there yet, as its first consumer makes
-- it, has been given nothing.
local function of_group(key, name)
  for _, flat in ipairs(call('XINFO', 'GROUPS', key)) do
    local group = named(flat)
    if group.name == name then
      -- Redis 7 knows it unless entries were deleted from the middle of the stream; 6.2 and older never do.
      return tonumber(group.lag) or entries_after(key, group['last-delivered-id']), group.pending
    end
  end
  return call('XLEN', key), 0
end

call('SELECT', DB)
local waiting, running = 0, 0
for i, key in ipairs(KEYS) do
  local expected, group = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local found = call('TYPE', key).ok
  if found ~= 'none' then
    if found ~= expected then
      return redis.error_reply('WRONGTYPE the key ' .. key .. ' is a ' .. found .. ', not a ' .. expected)
    end
    if group ~= '' then
      local lag, pending = of_group(key, group)
      waiting, running = waiting + lag, running + pending
    elseif i <= WAITING then
      waiting = waiting + call(LENGTH[expected], key)
    else
      running = running + call(LENGTH[expected], key)
    end
  end
end
local time = call('TIME')
return {
  waiting, running, time[1] * 1000 + math.floor(time[2] / 1000),
  info('replication', 'role:(%a+)'), info('server', 'run_id:(%x+)'),
}
