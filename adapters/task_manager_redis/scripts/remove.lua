-- Needs runs and tasks and trash.
-- ARGV: tasks. Answer: those that existed. With the places of its runs every claim and every entry of a task is void;
-- what the places named is swept afterwards, step by step.
local removed = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  if exists(task) or redis.call('ZSCORE', catalogue, task) then
    despite_full_memory()
    local version = next_version(task)
    if redis.call('EXISTS', root .. ':live:' .. task) == 1 then
      -- The note comes first: a sweep passes over one whose places are still those of a task.
      redis.call('ZADD', trash, 0, version .. ' ' .. task)
      redis.call('RENAME', root .. ':live:' .. task, trash .. ':' .. version)
    end
    for _, kind in ipairs({ 'retry', 'pause', 'held', 'line', 'history', 'skips', 'task' }) do
      redis.call('UNLINK', root .. ':' .. kind .. ':' .. task)
    end
    redis.call('SREM', root .. ':retired', task)
    redis.call('ZREM', agenda, task)
    redis.call('ZREM', catalogue, task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  ring()
end
return removed
