-- Marks pods, so that they claim nothing, or lifts their marks. A mark ends by the server's clock.
--
-- ARGV: 5 "quiet" (only pods that hold nothing), "drain" (all) or "unquiet"   6 leader's epoch   7 time, ms
--       from 8: pod UIDs
-- Answer: {0, the pods that are marked now and hold nothing...}, or {1, highest epoch seen} if ours is lower

local KIND, GIVEN, TIME_MS = ARGV[5], ARGV[6], tonumber(ARGV[7])
require_rights({ { 'HDEL', QUIET, '' }, { 'HSET', QUIET, '', '' }, { 'SET', EPOCH, '' } })
call('HLEN', QUIET)
call('HLEN', HOLDS)
local current = call('GET', EPOCH)
if current and tonumber(current) > tonumber(GIVEN) then return { 1, tonumber(current) } end
local now = now_ms()
local idle = {}
for i = 8, #ARGV do idle[ARGV[i]] = (tonumber(call('HGET', HOLDS, ARGV[i])) or 0) == 0 end

-- A write that a full server does not refuse, so that it lets the rest through.
call('HDEL', QUIET, '')
call('SET', EPOCH, GIVEN)
local answer = { 0 }
for i = 8, #ARGV do
  local pod = ARGV[i]
  if KIND == 'unquiet' then
    call('HDEL', QUIET, pod)
  elseif KIND == 'drain' or idle[pod] then
    call('HSET', QUIET, pod, string.format('%.0f %s', now + TIME_MS, KIND))
    if idle[pod] then answer[#answer + 1] = pod end
  end
end
return answer
