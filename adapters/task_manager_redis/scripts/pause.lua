-- Needs tasks.
-- ARGV: tasks. Answer: those that exist. Nothing here expires: a pause has no end of its own.
despite_full_memory()
local found = {}
for i = 4, #ARGV do
  if exists(ARGV[i]) then
    redis.call('HSET', root .. ':task:' .. ARGV[i], 'paused', 1)
    found[#found + 1] = ARGV[i]
  end
end
return found
