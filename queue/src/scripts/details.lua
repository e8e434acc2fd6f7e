-- What we remember of a job besides its hash. Writes nothing.
--
-- ARGV: 5 id
-- Answer: {account (account.lua), due (ms) or false, ended (ms) or false, {most attempts or 0, timeout (ms) or 0,
--   watched (0 or 1)}}, or false if there is no such job

local ID = ARGV[5]
local record = read_records({ ID })[ID]
local due, ended = call('ZSCORE', DELAYED, ID), call('ZSCORE', FINISHED, ID) or call('ZSCORE', DEAD, ID)
local indexed = call('ZSCORE', INDEX, ID)
on_jobs()
local known = record or due or ended or indexed or status_of(ID)
on_queue()
if not known then return false end
record = record or {}
local options = { record.max_attempts or 0, record.timeout or 0, record.watched and 1 or 0 }
return { account_of(record), due, ended, options }
