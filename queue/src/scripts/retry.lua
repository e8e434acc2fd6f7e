-- Puts dead jobs back at the tail of the list, their failures and losses forgotten, their past kept; an item that
-- was no job as it came. What is not among the dead stays as it is, so that a second call puts nothing twice.
--
-- ARGV: 5, 6 settings.lua's   from 7: members of the dead.
-- Answer for each: 1 if it went back; else its job's status, or false if there is none

require_rights({
  { 'ZREM', DEAD, '' }, { 'HSET', RECORDS, '', '' }, { 'HDEL', RECORDS, '' }, { 'RPUSH', MAIN, '' },
  { 'HINCRBY', COUNTS, '', 1 }, { 'HSET', HASH .. 'x', 'a', '' }, { 'HDEL', HASH .. 'x', 'a' },
  { 'SADD', CHANGED, '' },
})
require_types()
local now = now_ms()
local members = { unpack(ARGV, 7) }
local records, since = read_records(members), call('ZMSCORE', DEAD, unpack(members))
local statuses, seen = {}, {}
on_jobs()
for i, member in ipairs(members) do statuses[i] = status_of(member) or false end
on_queue()

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', DEAD, '')
local answers, back, items, changed, submitted, watched = {}, {}, {}, {}, {}, {}
for i, member in ipairs(members) do
  local status, record = statuses[i], records[member] or {}
  local garbage = string.sub(member, 1, 5) == 'item:'
  -- What a foreign program completed meanwhile is not to be done again.
  local returns = since[i] and not seen[member] and (status == 'failed' or not TERMINAL[status])
    and (record.item or not garbage)
  seen[member] = true
  answers[i] = returns and 1 or status
  if returns then
    back[#back + 1], items[#items + 1] = member, item_for(member, record)
    if status then submitted[#submitted + 1], submitted[#submitted + 2] = member, 'submitted' end
    record.failures, record.lost, record.tries, record.reason = nil
    past(record, now, 'retried')
    if record.watched then watched[#watched + 1] = member end
    -- Of an item that was no job nothing is to be remembered: it comes as new.
    changed[member] = not garbage and record
  end
end
if #back > 0 then
  call('ZREM', DEAD, unpack(back))
  write_records(changed)
  call('RPUSH', MAIN, unpack(items))
  if #watched > 0 then call('SADD', CHANGED, unpack(watched)) end
  count('retried', #back)
  write_statuses(submitted)
end
return answers
