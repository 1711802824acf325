-- ARGV: node.
redis.call('ZREM', root .. ':nodes', ARGV[4])
redis.call('HDEL', root .. ':presences', 'text ' .. ARGV[4], 'digest ' .. ARGV[4])
return 1
