#!lua flags=no-writes
-- KEYS  1 the names of queues; 2 those of topics; 3 the routes
-- Returns the names of both, and the routes as fields and values in turn.
return { redis.call('HKEYS', KEYS[1]), redis.call('HKEYS', KEYS[2]), redis.call('HGETALL', KEYS[3]) }
