-- Needs tasks.
-- ARGV: tasks. Answer: the tasks that exist.
local found = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  local key = root .. ':task:' .. task
  if task_exists(task) then
    redis.call('UNLINK', root .. ':attempts:' .. task, root .. ':skipped:' .. task)
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if string.sub(field, 1, 8) == 'skipped:' then
        redis.call('HDEL', key, field)
      end
    end
    found[#found + 1] = task
  end
end
return found
