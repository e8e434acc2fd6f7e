-- The words of jobs that have not ended, and ours for those that have. Any other word is one of a program that is not ours.
local LIVE = { submitted = true, ['in progress'] = true, [''] = true }
local OURS = { complete = true, failed = true, cancelled = true }
