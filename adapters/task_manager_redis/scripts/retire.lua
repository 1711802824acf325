-- Needs tasks.
-- ARGV: holder, token, tasks. Answer: nil when fenced, else those that were active.
if not reigns(ARGV[4], ARGV[5]) then
  return false
end
despite_full_memory()
local retired = {}
for i = 6, #ARGV do
  local task = ARGV[i]
  if exists(task) and redis.call('SISMEMBER', root .. ':retired', task) == 0 then
    next_version(task)
    redis.call('ZADD', agenda, '+inf', task)
    redis.call('SADD', root .. ':retired', task)
    retired[#retired + 1] = task
  end
end
if #retired > 0 then
  ring()
end
return retired
