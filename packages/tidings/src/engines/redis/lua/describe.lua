#!lua flags=no-writes
-- KEYS  the meta of each queue or topic
-- Returns of each when it was created and its settings; false for what is missing.
local found = {}
for i, meta in ipairs(KEYS) do found[i] = redis.call('HMGET', meta, 'created', 'settings') end
return found
