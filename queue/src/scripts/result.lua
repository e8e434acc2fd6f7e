-- What a job gave. Writes nothing.
--
-- ARGV: 5 id
-- Answer: {status, false or content type, the first 4 KiB of the body, false or the rest}, or false if there is no such
--   job

local ID = ARGV[5]
on_jobs()
local status = status_of(ID)
on_queue()
if not status then return false end
if status ~= 'complete' then return { status, false, false, false } end
local packed, rest = unpack(call('HMGET', RESULTS, ID, ID .. '\n'))
if not packed then return { status, false, false, false } end
local content_type, _, head = unpack(cmsgpack.unpack(packed))
return { status, content_type, head, rest }
