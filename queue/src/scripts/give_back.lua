-- Puts jobs back at the head of the list, for who bears the token: the first given will be taken first. Spends
-- no attempt. What was to be cancelled is cancelled instead.
--
-- ARGV: 5, 6 settings.lua's   from 7: id, token; again and again.
-- Answer: how many went back.

local ids, tokens = {}, {}
for i = 7, #ARGV, 2 do
  local id = ARGV[i]
  if not tokens[id] then ids[#ids + 1] = id end
  tokens[id] = ARGV[i + 1]
end
local now = now_ms()
local records, held = read_records(ids), {}
for _, id in ipairs(ids) do
  local record = records[id]
  if record and record.token == tokens[id] then held[#held + 1] = id end
end
local found = {}
on_jobs()
for i, id in ipairs(held) do found[i] = status_of(id) or false end
on_queue()

local cancelled = 0
for i, id in ipairs(held) do
  local record, status = records[id], found[i]
  local after = without_run(record)
  if not status then
    end_gone(id, record)
  elseif TERMINAL[status] then
    end_finished(id, record, after, now, nil)
  elseif record.cancel then
    cancelled = cancelled + 1
    end_finished(id, record, after, now, 'cancelled')
  else
    after.attempts = math.max(0, (record.attempts or 1) - 1)
    after.interruptions = (record.interruptions or 0) + 1
    end_returned(id, record, after)
  end
end
local returned = #endings.returned
check_bookkeeping()
check_endings()
change_held(-write_endings(), holders)
write_records(records_after)
count('given_back', returned)
count('cancelled', cancelled)
write_statuses(statuses)
return returned
