-- Needs tasks.
-- ARGV: holder, token, tasks. Answer: nil if the term is over; else the tasks that were active.
if not is_current_term(ARGV[4], ARGV[5]) then
  return false
end
allow_oom()
local retired = {}
for i = 6, #ARGV do
  local task = ARGV[i]
  if task_exists(task) and redis.call('SISMEMBER', root .. ':retired', task) == 0 then
    next_version(task)
    redis.call('ZADD', agenda, '+inf', task)
    redis.call('SADD', root .. ':retired', task)
    retired[#retired + 1] = task
  end
end
if #retired > 0 then
  notify()
end
return retired
