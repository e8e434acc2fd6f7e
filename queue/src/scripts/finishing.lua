-- Ends runs of jobs in three steps, read, judge and write, so that another script can have steps of its own between
-- them (turn.lua). Before the third one nothing is written. What nearly every call needs is in few functions, for each
-- takes time to make.

local FINISHED_BY_IT, STALE, GONE, IS_DEAD, IS_CANCELLED, POSTPONED, RETRIED = 0, 1, 2, 3, 4, 5, 6
local MAX_ATTEMPTS, BASE, CAP

-- What was said of each run, by its place. `results`: places in ARGV of what jobs gave.
local run_ids, tokens, hows, texts, results, n_runs = {}, {}, {}, {}, {}, 0
local records_before
-- What the results hash is to hold: {id, packed, ...}; and what is to be counted.
local kept, tally = {}, { completed = 0, completed_busy_ms = 0 }

-- `at`: where in ARGV it begins.
local function read_runs(at)
  local n_args = #ARGV
  MAX_ATTEMPTS, BASE, CAP = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  math.randomseed(tonumber(ARGV[at + 3]))
  at = at + 4
  while at <= n_args do
    local how = ARGV[at + 2]
    n_runs = n_runs + 1
    run_ids[n_runs], tokens[n_runs], hows[n_runs] = ARGV[at], ARGV[at + 1], how
    at = at + 3
    if how == 'result' then
      hows[n_runs], results[n_runs] = 'complete', at
      at = at + 2
    elseif how ~= 'complete' and how ~= 'cancelled' then
      texts[n_runs] = ARGV[at]
      at = at + 1
    end
  end
  records_before = read_records(run_ids, true)
end

local function add(name, n)
  tally[name] = (tally[name] or 0) + n
end

-- What is told of a result without reading all of it.
local HEAD = 4096
local function keep_result(id, content_type, body)
  local n = #kept
  kept[n + 1], kept[n + 2] = id, cmsgpack.pack({ content_type, #body, string.sub(body, 1, HEAD) })
  if #body > HEAD then kept[n + 3], kept[n + 4] = id .. '\n', string.sub(body, HEAD + 1) end
end

local function end_failed(id, record, after, how, text)
  local now, counter, reason = now_ms(), 'failed', 'failed'
  if how == 'timeout' then counter, reason = 'timed_out', 'timed out' end
  after.failures = (record.failures or 0) + 1
  past(after, now, reason, text)
  add(counter, 1)
  local spent = has_spent_its_own(after)
  if spent == nil then spent = after.failures >= MAX_ATTEMPTS end
  if spent then
    add('dead', 1)
    end_dead(id, record, after, now, reason)
    return IS_DEAD
  end
  local wait = backoff(after.failures, BASE, CAP)
  end_delayed(id, record, after, now + wait)
  return { RETRIED, wait }
end

-- What comes of a run that did not complete its job, or not in time.
local function end_otherwise(i, record, after, status)
  local id, how, now = run_ids[i], hows[i], now_ms()
  if TERMINAL[status] then
    add('finished_in_vain', 1)
    end_finished(id, record, after, now, nil)
    return (how == 'cancelled' and status == 'cancelled') and IS_CANCELLED or STALE
  end
  if how == 'cancelled' or record.cancel then
    add('cancelled', 1)
    end_finished(id, record, after, now, 'cancelled')
    return IS_CANCELLED
  end
  if how == 'later' then
    local wait = tonumber(texts[i])
    after.attempts = math.max(0, (record.attempts or 1) - 1)
    add('postponed', 1)
    end_delayed(id, record, after, now + wait)
    return { POSTPONED, wait }
  end
  return end_failed(id, record, after, how, texts[i])
end

-- `completed`: jobs of one claim are complete in the same way, so they share what is left of their records.
local function end_one(i, record, status, completed)
  local id, token = run_ids[i], tokens[i]
  if not status then
    add('finished_in_vain', 1)
    end_gone(id, record)
    return GONE
  end
  if hows[i] ~= 'complete' or TERMINAL[status] then
    local after = without_run(record)
    local answer = end_otherwise(i, record, after, status)
    after.ended, after.answer = token, answer
    return answer
  end
  local now, after = now_ms(), completed[record]
  if not after then
    after = without_run(record)
    after.done = token
    completed[record] = after
  end
  tally.completed = tally.completed + 1
  tally.completed_busy_ms = tally.completed_busy_ms + math.max(0, now - (record.claimed or now))
  if results[i] then keep_result(id, ARGV[results[i]], ARGV[results[i] + 1]) end
  end_finished(id, record, after, now, 'complete')
  return FINISHED_BY_IT
end

-- On the jobs' database. Answers for each run what became of its job.
local function judge_runs()
  -- By id: what a run was answered, so that the same one twice in a call is answered the same.
  local answers, settled, completed = {}, {}, {}
  for i = 1, n_runs do
    local id, token = run_ids[i], tokens[i]
    local record = records_before[id]
    if not record then
      answers[i] = STALE
    elseif record.token == token then
      if settled[id] == nil then settled[id] = end_one(i, record, status_of(id), completed) end
      answers[i] = settled[id]
    elseif record.done == token then
      answers[i] = FINISHED_BY_IT
    elseif record.ended == token then
      answers[i] = record.answer
    else
      answers[i] = STALE
    end
  end
  return answers
end

local function check_runs()
  check_endings()
  if #kept > 0 then
    require_right('HSET', RESULTS, 'a', '')
    call('HLEN', RESULTS)
  end
end

-- All but the records and the statuses. Answers how many leases there are less.
local function write_runs()
  local released = write_endings()
  if #kept > 0 then call('HSET', RESULTS, unpack(kept)) end
  for name, n in pairs(tally) do count(name, n) end
  return released
end
