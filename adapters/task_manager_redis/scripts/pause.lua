-- Needs tasks.
-- ARGV: tasks. Answer: the tasks that exist. The mark of a pause has no time to live: a pause has no end of its own.
allow_oom()
local found = {}
for i = 4, #ARGV do
  if task_exists(ARGV[i]) then
    redis.call('HSET', root .. ':task:' .. ARGV[i], 'paused', 1)
    found[#found + 1] = ARGV[i]
  end
end
return found
