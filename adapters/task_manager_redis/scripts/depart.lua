-- ARGV: node.
redis.call('ZREM', root .. ':nodes', ARGV[4])
redis.call('HDEL', root .. ':presences', ARGV[4])
return 1
