-- ARGV: node, time to live, presence (empty: the presence that the node announced before).
-- Answer: 0 if the presence is empty and the store has none of this node, else 1.
-- The store keeps a digest beside each presence: a reader that knows the digest does not read the presence again.
local node, ttl, presence = ARGV[4], ARGV[5], ARGV[6]
local nodes, presences = root .. ':nodes', root .. ':presences'
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', steady())) do
  redis.call('HDEL', presences, 'text ' .. expired, 'digest ' .. expired)
end
redis.call('ZREMRANGEBYSCORE', nodes, '-inf', steady())
if presence ~= '' then
  redis.call('HSET', presences, 'text ' .. node, presence, 'digest ' .. node, redis.sha1hex(presence))
elseif redis.call('HEXISTS', presences, 'text ' .. node) == 0 then
  return 0
end
redis.call('ZADD', nodes, steady() + ttl, node)
return 1
