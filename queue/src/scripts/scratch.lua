-- Removes what the check at start made, of all keys, the sweep's too. ARGV from 5: ids, which are also idempotency
-- keys.

call('DEL', unpack(KEYS))
for i = 5, #ARGV do call('DEL', IDEMPOTENCY .. ARGV[i]) end
on_jobs()
for i = 5, #ARGV do call('DEL', HASH .. ARGV[i]) end
on_queue()
return 1
