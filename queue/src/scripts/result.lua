-- What a job gave. Writes nothing.
--
-- ARGV: 5, 6 settings.lua's   7 id
-- Answer: {status, 1 if it has ended, else 0, false or content type, the first 4 KiB of the body, false or the rest}, or
--   false if there is no such job

local ID = ARGV[7]
on_jobs()
local status = status_of(ID)
on_queue()
if not status then return false end
if status ~= 'complete' then
  -- With a word of its own a program that is not ours ends it for good once that is in the settings, or the sweep says so.
  local has_ended = TERMINAL[status] or (not LIVE[status] and call('ZSCORE', FINISHED, ID))
  return { status, has_ended and 1 or 0, false, false, false }
end
local packed, rest = unpack(call('HMGET', RESULTS, ID, ID .. '\n'))
local content_type, _, head = unpack(head_of(packed) or {})
return { status, 1, content_type or false, head or false, rest }
