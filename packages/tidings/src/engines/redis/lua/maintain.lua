#!lua flags=allow-oom
-- Forgets what has expired, and finds what was left in the outbox and in the inbox.
-- KEYS  1… the queue
-- ARGV  1 after how many milliseconds an outbox entry counts as left; 2 the same for an intent; 3 for a delivery in the
--       inbox; 4 and 5 where to go on looking in the two, first '0', in the end ''
-- Returns 1 if the queue exists, 1 if there is more to forget, some entries that were left, some such delivery ids, and
-- where to go on in both.
local q = queueAt(1)
local more = forgetDedup(q, 1000)
local left, followingLeft = leftEntries(q, ARGV[1], ARGV[2], ARGV[4])
local old, followingOld = oldDeliveries(q, ARGV[3], ARGV[5])
return { isThere(q) and 1 or 0, more and 1 or 0, left, old, followingLeft, followingOld }
