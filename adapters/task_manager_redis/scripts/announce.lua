-- ARGV: node, time to live, presence (empty: the one told before). Answer: 0 when there is none to keep, else 1.
local node, ttl, presence = ARGV[4], ARGV[5], ARGV[6]
local nodes, presences = root .. ':nodes', root .. ':presences'
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', now)) do
  redis.call('HDEL', presences, gone)
end
redis.call('ZREMRANGEBYSCORE', nodes, '-inf', now)
if presence ~= '' then
  redis.call('HSET', presences, node, presence)
elseif redis.call('HEXISTS', presences, node) == 0 then
  return 0
end
redis.call('ZADD', nodes, now + ttl, node)
return 1
