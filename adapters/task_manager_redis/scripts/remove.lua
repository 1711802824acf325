-- Needs runs and tasks.
-- ARGV: tasks. Answer: those that existed. Their entries go, so every claim on them is lost.
local function forget_runs(task)
  local ids, waits = { high = {}, low = {} }, {}
  local live = redis.call('HGETALL', root .. ':live:' .. task)
  for i = 1, #live, 2 do
    local run, place = live[i], read_place(live[i + 1]) or {}
    if place.state == 'q' then
      table.insert(ids[place.priority], place.id)
    elseif place.state == 'w' then
      table.insert(waits, task .. ' ' .. run)
    elseif place.state == 'c' then
      stop_claiming(place.worker, task, run)
    end
  end
  for _, priority in ipairs(PRIORITIES) do
    spread(ids[priority], function(...) redis.call('XDEL', streams[priority], ...) end)
  end
  spread(waits, function(...) redis.call('ZREM', waiting, ...) end)
  forget_claims()
end

local removed = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  if exists(task) or redis.call('ZSCORE', catalogue, task) then
    forget_runs(task)
    for _, kind in ipairs({ 'live', 'retry', 'pause', 'held', 'line', 'history', 'skips', 'task' }) do
      redis.call('DEL', root .. ':' .. kind .. ':' .. task)
    end
    redis.call('SREM', root .. ':retired', task)
    redis.call('ZREM', agenda, task)
    redis.call('ZREM', catalogue, task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  next_version()
  ring()
end
return removed
