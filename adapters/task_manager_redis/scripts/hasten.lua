-- ARGV: tasks. Answer: how many runs waited.
local count = 0
if redis.call('EXISTS', waiting) == 0 then
  return count
end
for i = 4, #ARGV do
  local task = ARGV[i]
  local live = redis.call('HGETALL', root .. ':live:' .. task)
  for j = 1, #live, 2 do
    if string.sub(live[j + 1], 1, 1) == 'w' then
      redis.call('ZADD', waiting, now, task .. ' ' .. live[j])
      count = count + 1
    end
  end
end
promote(500) -- The others are due, and go with the next claims.
return count
