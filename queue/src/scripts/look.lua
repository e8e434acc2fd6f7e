-- The first step of a claim: looks at the items that it may take, and at what is known of their jobs. Writes nothing.
-- ARGV: as claim.lua tells.

local WORKER, NONCE, TOKEN, SLOTS, LEASE = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local IP, HOLDER = ARGV[12], ARGV[13]

-- The answer. Lengths are counted along where there are many: `#` searches for them.
local claims, answered = { 0, 0 }, 2
-- Jobs that brought a payload, and what is answered of each, to be completed.
local laden, told = {}, {}

local function answer_with(id, first, last, record)
  -- A job whose hash was deleted and submitted anew while it runs has forgotten it.
  local attempt = record.attempts or 1
  if record.payload or record.timeout or record.max_attempts then
    attempt = { attempt, false, record.timeout or false, record.max_attempts or false }
    if record.payload then
      laden[#laden + 1] = id
      told[#laden] = attempt
    end
  end
  claims[answered + 1] = id
  claims[answered + 2] = first or ''
  claims[answered + 3] = last or ''
  claims[answered + 4] = attempt
  answered = answered + 4
end

local function add_payloads()
  if #laden == 0 then return end
  for i, payload in ipairs(call('HMGET', PAYLOADS, unpack(laden))) do told[i][2] = payload end
end

-- Answers again with what an earlier run of this same claim took, as far as it is still held.
local function answer_again(remembered)
  local ids = {}
  for id in string.gmatch(remembered, '[^\n]+') do ids[#ids + 1] = id end
  local records = read_records(ids, true)
  on_jobs()
  for _, id in ipairs(ids) do
    local record = records[id]
    if record and record.token == TOKEN then
      local fields = try('HMGET', HASH .. id, 'start', 'end') or {}
      answer_with(id, fields[1], fields[2], record)
    end
  end
  on_queue()
  add_payloads()
end

-- How many are taken off each list, and what is known of the items that mean jobs, by their place.
local n_arrived, n_waiting = 0, 0
local ids, ours, raws, n_ids = {}, {}, {}, 0
local records, leased, delayed, dead, tombstones = {}, {}, {}, {}, {}

local function look()
  -- Nearly always none of them is there, which one call tells.
  local is_odd = call('EXISTS', DELAYED, DEAD, CANCELLED, QUIET) > 0
  local mark = is_odd and call('HGET', QUIET, HOLDER)
  local marked_until = mark and tonumber(string.match(mark, '^%d+')) or 0
  -- A claim is remembered as its nonce and its ids, a line each.
  local last = call('HGET', CLAIMS, WORKER)
  local again = last and string.sub(last, 1, #NONCE + 1) == NONCE .. '\n'
  if again or (mark and marked_until > now_ms()) then
    claims[2] = call('LLEN', ARRIVALS) + call('LLEN', MAIN)
    if again then answer_again(string.sub(last, #NONCE + 2)) else claims[1] = marked_until - now_ms() end
    return
  end

  -- One more than there are slots, so that most times their lengths need not be asked for.
  local arrived, waiting = call('LRANGE', ARRIVALS, '0', ARGV[10]), {}
  n_arrived = math.min(#arrived, SLOTS)
  if #arrived <= SLOTS then
    waiting = call('LRANGE', MAIN, '0', n_arrived == 0 and ARGV[10] or SLOTS - n_arrived)
    n_waiting = math.min(#waiting, SLOTS - n_arrived)
    claims[2] = n_waiting < #waiting and call('LLEN', MAIN) - n_waiting or 0
  else
    claims[2] = call('LLEN', ARRIVALS) - n_arrived + call('LLEN', MAIN)
  end

  local seen = {}
  for i = 1, n_arrived + n_waiting do
    local raw = i <= n_arrived and arrived[i] or waiting[i - n_arrived]
    local id, is_ours = id_of(raw)
    if not id then
      bury_garbage(raw)
    elseif seen[id] then
      drop('duplicates')
    else
      n_ids = n_ids + 1
      seen[id], ids[n_ids], ours[n_ids], raws[n_ids] = true, id, is_ours, raw
    end
  end
  if n_ids == 0 then return end
  records, leased = read_records(ids), call('ZMSCORE', LEASES, unpack(ids))
  if is_odd then
    delayed, dead = call('ZMSCORE', DELAYED, unpack(ids)), call('ZMSCORE', DEAD, unpack(ids))
    tombstones = call('SMISMEMBER', CANCELLED, unpack(ids))
  end
end
