-- Needs runs and tasks and trash.
-- ARGV: tasks. Answer: the tasks that existed.
local removed = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  if task_exists(task) or redis.call('ZSCORE', catalogue, task) then
    remove_task(task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  notify()
end
return removed
