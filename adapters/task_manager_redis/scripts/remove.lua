-- Needs runs and tasks and trash.
-- ARGV: tasks. Answer: the tasks that existed.
-- This renames the hash of a task's run entries. Without its run entry, each claim and each stream item of the task is
-- void at once. sweep.lua deletes these claims and items later, step by step.
local removed = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  if task_exists(task) or redis.call('ZSCORE', catalogue, task) then
    allow_oom()
    local version = string.format('%.0f', next_version(task))
    if redis.call('EXISTS', root .. ':live:' .. task) == 1 then
      -- The member is added first. If the script stops here, a sweep finds no hash and deletes the member.
      redis.call('ZADD', trash, 0, version .. ' ' .. task)
      redis.call('RENAME', root .. ':live:' .. task, trash .. ':' .. version)
    end
    for _, kind in ipairs({ 'retry', 'pause', 'delay', 'held', 'line', 'history', 'skips', 'task' }) do
      redis.call('UNLINK', root .. ':' .. kind .. ':' .. task)
    end
    redis.call('SREM', root .. ':retired', task)
    redis.call('ZREM', agenda, task)
    redis.call('ZREM', catalogue, task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  notify()
end
return removed
