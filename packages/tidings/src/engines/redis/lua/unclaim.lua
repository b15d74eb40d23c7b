#!lua flags=allow-oom
-- Gives back what a claim has leased whose answer never came, and takes the reads back: nobody has the messages. The claim
-- leases nothing any more, should it come now.
-- KEYS  1… the queue
-- ARGV  1 nonce of the claim; 2 lease in milliseconds; 3 how many milliseconds ago the claim was sent, at most
local q = queueAt(1)
if not isThere(q) then return missing(q) end
isOvertaken(q, ARGV[1], 1000)
local ids, states = leasedWith(q, ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
for _, m in ipairs(states) do m.n = m.n - 1 end
giveBack(q, ids, states)
finish(q)
return 1
