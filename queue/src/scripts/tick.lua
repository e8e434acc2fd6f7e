-- What somebody must do every second or so; too early after the last it does nothing.
-- After an outage, a failover or a step of the clock every lease first gets its whole time again (guarding.lua), and nothing
-- is reaped until then: those who hold them could not renew.
--
-- ARGV: 5, 6 settings.lua's   7 least time between two ticks, ms   8 lease of those whose record tells none, ms
--       9 longest time between two ticks that is no outage, ms   10 how long an item may lie in arrivals, ms
--       11 how many of each are handled at once   12 how long a worker counts as alive after a beat, ms
--       13 lost workers after which a job is dead   14 backoff's base, ms   15 its cap, ms   16 seed of the jitter
-- Answer: {skipped, guarded, reaped, promoted, returned, workers struck off, dead, cancelled, whether there is more to guard}

local INTERVAL, LEASE, OUTAGE = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local ARRIVALS_MAX, LIMIT, ALIVE = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local MAX_LOST, BASE, CAP = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
math.randomseed(tonumber(ARGV[16]))

require_rights({
  { 'ZADD', BEATS, 0, '' }, { 'ZREM', DELAYED, '' }, { 'HDEL', WORKERS, '' }, { 'SREM', CANCELLED, '' },
  { 'DEL', CANCELLED }, { 'SET', HELD, 0 }, { 'LPUSH', MAIN, '' }, { 'LMOVE', ARRIVALS, MAIN, 'RIGHT', 'LEFT' },
  { 'HSET', TICKS, 'a', '' }, { 'HDEL', TICKS, 'a' }, { 'ZADD', DELAYED, 0, '' }, { 'ZADD', LEASES, 0, '' },
  { 'SADD', CHANGED, '' },
})
require_types()
call('HLEN', WORKERS)
call('ZCARD', BEATS)
local now = now_ms()
local last, last_run_id, arrivals_head, arrivals_since, guard_leases, guard_beats =
  unpack(call('HMGET', TICKS, 'last', 'run_id', 'arrivals_head', 'arrivals_since', 'guard_leases', 'guard_beats'))
local elapsed = last and now - last
if elapsed and elapsed >= 0 and elapsed < INTERVAL then return { 1, 0, 0, 0, 0, 0, 0, 0, 0 } end
local run_id = string.match(call('INFO', 'server'), 'run_id:(%x+)') or ''

local outage = not elapsed or elapsed < 0 or elapsed > OUTAGE or run_id ~= last_run_id
local guarded = outage and call('ZCARD', LEASES) > 0
local is_guarding = outage or guard_leases or guard_beats

-- Leases past their end: their workers are lost.
local reaped, dead, cancelled = 0, 0, 0
local function judge(id, record, status)
  if not status then return end_gone(id, record) end
  local after = without_run(record)
  if TERMINAL[status] then return end_finished(id, record, after, now, nil) end
  if record.cancel then
    cancelled = cancelled + 1
    return end_finished(id, record, after, now, 'cancelled')
  end
  after.lost = (record.lost or 0) + 1
  past(after, now, 'worker lost')
  if after.lost >= MAX_LOST or has_spent_its_own(after) then
    dead = dead + 1
    return end_dead(id, record, after, now, 'worker lost')
  end
  reaped = reaped + 1
  end_delayed(id, record, after, now + backoff(after.lost, BASE, CAP))
end

local function judge_expired()
  local ids = call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, LIMIT)
  local records, statuses = read_records(ids), {}
  on_jobs()
  for i, id in ipairs(ids) do statuses[i] = status_of(id) or false end
  on_queue()
  for i, id in ipairs(ids) do judge(id, records[id] or {}, statuses[i]) end
end

-- A marked item that a foreign worker took is no longer there to be dropped; its status tells.
local function untrue_tombstones()
  local untrue = {}
  local some = call('SRANDMEMBER', CANCELLED, LIMIT)
  on_jobs()
  for _, id in ipairs(some) do
    local status = status_of(id)
    if status and status ~= 'cancelled' then untrue[#untrue + 1] = id end
  end
  on_queue()
  return untrue
end

if not is_guarding then judge_expired() end
local due = call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, LIMIT)
local due_records = read_records(due)
local untrue = untrue_tombstones()
check_bookkeeping()
check_endings()
change_held(-write_endings(), holders)
write_records(records_after)

-- What is due goes to the head: it has waited for its turn once already.
local function promote()
  if #due == 0 then return end
  local items, watched = {}, {}
  for i, id in ipairs(due) do
    local record = due_records[id]
    items[#due + 1 - i] = item_for(id, record)
    if record and record.watched then watched[#watched + 1] = id end
  end
  call('ZREM', DELAYED, unpack(due))
  call('LPUSH', MAIN, unpack(items))
  if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
end

local function strike_off()
  local silent = is_guarding and {} or call('ZRANGEBYSCORE', BEATS, '-inf', now, 'LIMIT', 0, LIMIT)
  if #silent > 0 then
    call('ZREM', BEATS, unpack(silent))
    call('HDEL', WORKERS, unpack(silent))
    call('HDEL', CLAIMS, unpack(silent))
  end
  local marks = call('HGETALL', QUIET)
  for i = 1, #marks, 2 do
    if (tonumber(string.match(marks[i + 1], '^%d+')) or 0) <= now then call('HDEL', QUIET, marks[i]) end
  end
  return #silent
end

-- While the same item stands first in arrivals, nobody claims: a foreign worker on the list may be waiting.
local function return_arrivals()
  local head = call('LINDEX', ARRIVALS, 0)
  if not head then
    call('HDEL', TICKS, 'arrivals_head', 'arrivals_since')
    return 0
  end
  local mark = redis.sha1hex(head)
  -- Nor has it lain there since a time that is yet to come: the clock was put back.
  if mark ~= arrivals_head or tonumber(arrivals_since) > now then
    call('HSET', TICKS, 'arrivals_head', mark, 'arrivals_since', now)
    return 0
  end
  if now - arrivals_since < ARRIVALS_MAX then return 0 end
  local n = math.min(call('LLEN', ARRIVALS), LIMIT)
  for _ = 1, n do call('LMOVE', ARRIVALS, MAIN, 'RIGHT', 'LEFT') end
  return n
end

local function settle_tombstones()
  if #untrue > 0 then call('SREM', CANCELLED, unpack(untrue)) end
  if call('LLEN', MAIN) + call('LLEN', ARRIVALS) == 0 then call('DEL', CANCELLED) end
end

if outage then start_guard(elapsed) end
promote()
local struck_off = strike_off()
local returned = return_arrivals()
local more_to_guard = guard_some(LEASE, ALIVE)
settle_tombstones()
count('guarded', guarded and 1 or 0)
count('lost', reaped + dead)
count('dead', dead)
count('cancelled', cancelled)
-- Whatever happened to either (an operator's DEL), they agree again.
local leased = call('ZCARD', LEASES)
if tonumber(call('GET', HELD) or 0) ~= leased then call('SET', HELD, leased) end
call('HSET', TICKS, 'last', now, 'run_id', run_id)
write_statuses(statuses)
return { 0, guarded and 1 or 0, reaped, #due, returned, struck_off, dead, cancelled,
  more_to_guard and 1 or 0 }
