-- Needs runs and tasks and trash.
-- ARGV: holder, token, then for each task: task, version. Answer: nil if the term is over; else the tasks that were over
-- and are removed now.
if not is_current_term(ARGV[4], ARGV[5]) then
  return false
end
local removed = {}
for i = 6, #ARGV, 2 do
  local task = ARGV[i]
  local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'slot')
  -- A removal that stopped half-way may have left the name without the definition.
  local named = not stored[1] and redis.call('ZSCORE', catalogue, task)
  if (named or stored[1] == ARGV[i + 1]) and not stored[2]
    and redis.call('EXISTS', root .. ':live:' .. task, root .. ':held:' .. task) == 0 then
    remove_task(task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  notify()
end
return removed
