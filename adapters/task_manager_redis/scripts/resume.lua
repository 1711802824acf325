-- Needs tasks.
-- ARGV: tasks. Answer: the tasks that exist. Slots up to `resumed_at` are not replayed. Only the end of a pause sets
-- it.
allow_oom()
local found = {}
for i = 4, #ARGV do
  local key = root .. ':task:' .. ARGV[i]
  if task_exists(ARGV[i]) then
    if redis.call('HEXISTS', key, 'paused') == 1 then
      redis.call('HSET', key, 'resumed_at', now)
      redis.call('HDEL', key, 'paused')
    end
    found[#found + 1] = ARGV[i]
  end
end
return found
