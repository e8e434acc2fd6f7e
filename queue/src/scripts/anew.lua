-- What of a record is the job's for good, and not its past: all that is left of it when the job begins anew.
local function begin_anew(record)
  return {
    payload = record.payload, watched = record.watched, max_attempts = record.max_attempts, timeout = record.timeout,
  }
end
