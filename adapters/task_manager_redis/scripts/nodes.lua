-- The living nodes: for each node the steady instant at which it expires, and its presence with a digest.
local nodes, presences = root .. ':nodes', root .. ':presences'

-- Delete what expired nodes have left. The presences go first: a node without a presence is deleted here later.
local function delete_expired_nodes()
  local expired = redis.call('ZRANGEBYSCORE', nodes, '-inf', steady())
  for _, node in ipairs(expired) do
    redis.call('HDEL', presences, 'text ' .. node, 'digest ' .. node)
  end
  if expired[1] then
    redis.call('ZREMRANGEBYSCORE', nodes, '-inf', steady())
  end
end
