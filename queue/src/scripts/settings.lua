-- What a queue's settings say of programs that are not ours.
--
-- ARGV: 5 how an item is written that did not come in a shape of its own: "pickle", "json" or "none"
--   6 words with which such programs end jobs, a line each

SERIALIZER = ARGV[5]
if ARGV[6] ~= '' then
  for word in string.gmatch(ARGV[6], '[^\n]+') do TERMINAL[word] = true end
end
