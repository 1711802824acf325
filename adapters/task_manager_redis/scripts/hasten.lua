-- Needs runs.
-- ARGV: tasks. Answer: how many runs waited.
despite_full_memory()
local count = 0
for i = 4, #ARGV do
  for _, kind in ipairs({ 'retry', 'pause' }) do
    for _, run in ipairs(redis.call('HKEYS', root .. ':' .. kind .. ':' .. ARGV[i])) do
      redis.call('ZADD', waiting, now, ARGV[i] .. ' ' .. run)
      count = count + 1
    end
  end
end
if count > 0 then
  promote(500) -- The others are due, and go with the next claims.
end
return count
