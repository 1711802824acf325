-- ARGV: tasks. Answer: those that existed. Their entries go, so every claim on them is lost.
local function forget_runs(task)
  local live = redis.call('HGETALL', root .. ':live:' .. task)
  for i = 1, #live, 2 do
    local place = read_place(live[i + 1])
    if place.state == 'q' then
      take(place.priority, place.id)
    else
      redis.call('ZREM', waiting, task .. ' ' .. live[i])
    end
  end
end

local removed = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  if exists(task) then
    forget_runs(task)
    for _, kind in ipairs({ 'task', 'live', 'held', 'history', 'skips' }) do
      redis.call('DEL', root .. ':' .. kind .. ':' .. task)
    end
    redis.call('ZREM', root .. ':due', task)
    redis.call('ZREM', root .. ':catalogue', task)
    redis.call('SREM', root .. ':retired', task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  next_version()
  ring()
end
return removed
