-- Ends runs of jobs, for who bears the token: they are complete, or go to the delayed, the dead or the cancelled.
-- Another token changes nothing; the same one again is fine; a hash that is gone is not made anew, and a job that
-- a foreign program ended stays as it is.
--
-- ARGV: 5, 6 settings.lua's   7 failures after which a job is dead   8 backoff's base, ms   9 its cap, ms
--       10 seed of the jitter
--       from 11: id, token, "complete"; or id, token, "result", content type, body (complete too); or id, token,
--       "cancelled"; or id, token, "failed" or "timeout", error; or id, token, "later", ms; again and again
-- Answer for each: 0 complete, by this token   1 another's, or it ended otherwise   2 its hash is gone   3 dead
--   4 cancelled   {5, ms} to run again after so long, unspent   {6, ms} to run again, one attempt less

read_runs(7)
on_jobs()
local answers = judge_runs()
on_queue()

check_bookkeeping()
check_runs()
change_held(-write_runs(), holders)
write_records(records_after)
write_statuses(statuses)
return answers
