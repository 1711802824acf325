-- ARGV: limit. Answer: now, the next instant after now ('' for none), and per due task: task, version, slot, due,
-- paused, resumed_at, live, held, retrying.
local rows = {}
for _, task in ipairs(redis.call('ZRANGEBYSCORE', root .. ':due', '-inf', now, 'LIMIT', 0, ARGV[4])) do
  local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'slot', 'due', 'paused', 'resumed_at')
  if stored[1] and stored[3] and tonumber(stored[3]) > now then
    redis.call('ZADD', root .. ':due', stored[3], task) -- A script that advances it was stopped half-way.
  elseif stored[1] and stored[2] and stored[3] then
    rows[#rows + 1] = {
      task, stored[1], stored[2], stored[3], stored[4] or '', stored[5] or '',
      redis.call('HLEN', root .. ':live:' .. task), redis.call('HLEN', root .. ':held:' .. task),
      redis.call('HLEN', root .. ':retry:' .. task),
    }
  else
    -- Somebody deleted keys by hand. One task without a definition must not stop the others.
    redis.call('ZREM', root .. ':due', task)
  end
end
local following = redis.call('ZRANGEBYSCORE', root .. ':due', '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { now, following[2] or '', rows }
