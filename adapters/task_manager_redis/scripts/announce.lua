-- Needs nodes.
-- ARGV: node, time to live, presence (empty: the presence that the node announced before).
-- Answer: 0 if the presence is empty and the store may have none of this node, else 1.
-- The store keeps a digest beside each presence: a reader that knows the digest does not read the presence again.
local node, ttl, presence = ARGV[4], ARGV[5], ARGV[6]
if presence == '' then
  -- Every node does this often. A reader removes a node whose presence was deleted (snapshot.lua), so the node tells
  -- that its presence exists.
  return call_even_if_full('ZADD', nodes, 'XX', 'CH', steady(1000) + ttl, node)
end
allow_oom()
delete_expired_nodes()
redis.call('HSET', presences, 'text ' .. node, presence, 'digest ' .. node, redis.sha1hex(presence))
redis.call('ZADD', nodes, steady() + ttl, node)
return 1
