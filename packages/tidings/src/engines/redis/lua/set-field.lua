#!lua flags=allow-oom
-- Sets a field of a hash, also when memory is full: a settlement may need it.
-- KEYS  1 the hash
-- ARGV  1 field; 2 value
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
