-- What a job's record tells: {attempts, failures, lost, interruptions, reason, error, cancellation asked for (0 or
-- 1), {{at (ms), what, error}, ...}}; what is absent is 0 or an empty text.

local function account_of(record)
  local history = {}
  for i, event in ipairs(record.history or {}) do history[i] = { event[1], event[2], event[3] or '' } end
  return {
    record.attempts or 0, record.failures or 0, record.lost or 0, record.interruptions or 0, record.reason or '',
    record.error or '', record.cancel and 1 or 0, history,
  }
end
