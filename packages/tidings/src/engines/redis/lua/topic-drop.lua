#!lua flags=allow-oom
-- Removes the topic with its messages and subscriptions. The outbox stays until its entries are delivered.
-- KEYS  1… the topic
-- Returns the incarnation; nil if there was no topic.
local t = topicAt(1)
if not look(t) then return false end
for _, name in ipairs(topicKeys) do
  if name ~= 'outbox' then redis.call('UNLINK', t[name]) end
end
return t.incarnation
