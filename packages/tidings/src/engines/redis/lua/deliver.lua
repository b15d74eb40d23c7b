#!lua flags=allow-oom
-- Takes in what was moved here from other slots, and what tells of the end of a correlation. Memory may be full: what is
-- here now is no longer there, and a settlement must not fail for want of room.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 `checked`, as in common.lua, or ''; then for each message its body and its options, as in send.lua
-- Returns as send.lua.
local q = queueAt(1)
if not isThere(q) then return noQueue(q) end
local options = {}
for i = 4, #ARGV, 2 do table.insert(options, cjson.decode(ARGV[i])) end
local doubt = doubtful(q, options, ARGV[2])
if doubt then return { doubt } end
local results = {}
for i, o in ipairs(options) do table.insert(results, storeOnce(q, ARGV[1 + 2 * i], o)) end
finish(q)
return { results, q.parcels }
