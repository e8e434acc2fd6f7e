-- What a claim does about items that are no job waiting for its first run: kept apart, for most claims meet none.

local ORPHAN_WAIT, ORPHAN_TRIES = tonumber(ARGV[14]), tonumber(ARGV[15])

-- What is to be written because of them; nil as long as that is nothing.
local odd
local function oddities()
  odd = odd or {
    tally = {}, buried = {}, redelayed = {}, undelayed = {}, revived = {}, unfinished = {}, outdated = {}, entombed = {},
    watched = {},
  }
  return odd
end

local function drop(why)
  local tally = oddities().tally
  tally[why] = (tally[why] or 0) + 1
end

local function bury(member, record, raw, reason)
  local all = oddities()
  record.item, record.reason = raw, reason
  past(record, now_ms(), 'dead', reason)
  records_after[member] = record
  all.buried[#all.buried + 1] = score(now_ms())
  all.buried[#all.buried + 1] = member
  if record.watched then all.watched[#all.watched + 1] = member end
end

local function bury_garbage(raw)
  drop('garbage')
  bury('item:' .. redis.sha1hex(raw), {}, raw, 'not a job id')
end
