-- Needs tasks.
-- ARGV: tasks. Answer: those that exist. Only a resumed pause sets the instant up to which slots are not replayed.
despite_full_memory()
local found = {}
for i = 4, #ARGV do
  local key = root .. ':task:' .. ARGV[i]
  if exists(ARGV[i]) then
    if redis.call('HEXISTS', key, 'paused') == 1 then
      redis.call('HSET', key, 'resumed_at', now)
      redis.call('HDEL', key, 'paused')
    end
    found[#found + 1] = ARGV[i]
  end
end
return found
