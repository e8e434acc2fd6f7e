-- Forgets jobs that ended long ago: hash, record, payload, result and place in the index together. Of what somebody set
-- back to submitted only what its runs left goes, so that it begins anew; nothing of what runs.
--
-- ARGV: 5 how long finished jobs are kept, ms, 0: for ever   6 the same for dead ones   7 how many at once
-- Answer: {looked at, forgotten}; as many looked at as were allowed means that there may be more.

local KEEP_FINISHED, KEEP_DEAD, LIMIT = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
require_rights({ { 'ZREM', FINISHED, '' }, { 'HINCRBY', COUNTS, '', 1 }, { 'DEL', HASH .. 'x' } })
require_forgettable()
local now = now_ms()

local function old(key, keep, limit)
  if keep == 0 or limit == 0 then return {} end
  return call('ZRANGEBYSCORE', key, '-inf', now - keep, 'LIMIT', 0, limit)
end

local finished = old(FINISHED, KEEP_FINISHED, LIMIT)
local dead = old(DEAD, KEEP_DEAD, LIMIT - #finished)
local forgotten, revived, hashes = {}, {}, {}
local function judge(ids)
  if #ids == 0 then return end
  local leased = call('ZMSCORE', LEASES, unpack(ids))
  on_jobs()
  for i, id in ipairs(ids) do
    if not leased[i] then
      local status = status_of(id)
      local list = (status and LIVE[status]) and revived or forgotten
      list[#list + 1] = id
      if status and not LIVE[status] then hashes[#hashes + 1] = HASH .. id end
    end
  end
  on_queue()
end
judge(finished)
judge(dead)
local watched, records_of_revived = watched_of(forgotten), read_records(revived)

-- A write that a full server does not refuse, so that it lets the rest through; and that a replica refuses.
call('ZREM', FINISHED, '')
if #finished > 0 then call('ZREM', FINISHED, unpack(finished)) end
if #dead > 0 then call('ZREM', DEAD, unpack(dead)) end
forget(forgotten, watched)
let_begin_anew(revived, records_of_revived)
if #hashes > 0 then
  on_jobs()
  call('DEL', unpack(hashes))
  on_queue()
end
count('purged', #forgotten)
return { #finished + #dead, #forgotten }
