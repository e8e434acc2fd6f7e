-- Takes out which watched jobs changed, and says how far they are now (state.lua).
--
-- ARGV: 5 how many at most
-- Answer: {{id...}, {state...}}

require_rights({ { 'SREM', CHANGED, '' } })
local ids = call('SRANDMEMBER', CHANGED, ARGV[5])
local states = states_of(ids)
-- A replica refuses it, also where nothing has changed.
call('SREM', CHANGED, '', unpack(ids))
return { ids, states }
