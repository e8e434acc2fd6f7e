-- How far jobs are (state.lua). Writes nothing.
--
-- ARGV from 5: ids.

return states_of({ unpack(ARGV, 5) })
