-- ARGV per run: task, run. Answer per run: the value of Cancelling.
local function cancel_held(task, run)
  local held = root .. ':held:' .. task
  for _, text in ipairs(redis.call('LRANGE', held, 0, -1)) do
    local _, id, slot = read_held(text)
    if id == run then
      remember(task, store_line(run, slot, 1, 'cancelled', now, '', '0'))
      redis.call('LREM', held, 1, text)
      return 'cancelled'
    end
  end
  return 'not_live'
end

local function cancel(task, run)
  local place = place_of(task, run)
  if not place then
    return cancel_held(task, run)
  end
  if place.state == 'q' and pending(place.priority, place.id) then
    redis.call('HSET', root .. ':live:' .. task, run,
      table.concat({ 'q', '!', place.priority, place.id, place.attempt, place.failures, place.slot }, ' '))
    return 'requested'
  end
  remember(task, store_line(run, place.slot, place.attempt, 'cancelled', now, '', token_of(place.priority, place.id)))
  ended(task, run)
  if place.state == 'q' then
    take(place.priority, place.id)
  else
    stop_waiting(task, run, place)
  end
  return 'cancelled'
end

local answers, requested = {}, false
for i = 4, #ARGV, 2 do
  local answer = cancel(ARGV[i], ARGV[i + 1])
  requested = requested or answer == 'requested'
  answers[#answers + 1] = answer
end
if requested then
  ring()
end
return answers
