-- ARGV: node, time to live, presence (empty: the one told before). Answer: 0 when there is none to keep, else 1.
-- Beside each presence stands its digest, for readers who know what it says.
local node, ttl, presence = ARGV[4], ARGV[5], ARGV[6]
local nodes, presences = root .. ':nodes', root .. ':presences'
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', steady())) do
  redis.call('HDEL', presences, 'text ' .. gone, 'digest ' .. gone)
end
redis.call('ZREMRANGEBYSCORE', nodes, '-inf', steady())
if presence ~= '' then
  redis.call('HSET', presences, 'text ' .. node, presence, 'digest ' .. node, redis.sha1hex(presence))
elseif redis.call('HEXISTS', presences, 'text ' .. node) == 0 then
  return 0
end
redis.call('ZADD', nodes, steady() + ttl, node)
return 1
