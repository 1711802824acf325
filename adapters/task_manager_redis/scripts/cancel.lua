-- Needs runs.
-- ARGV per run: task, run. Answer per run: the value of Cancelling.
local function cancel_held(task, run)
  local text = redis.call('HGET', root .. ':held:' .. task, run)
  if not text then
    return 'not_live'
  end
  local priority, slot = read_held(text)
  remember(task, store_line(run, slot, 1, 'cancelled', now, '', '0'))
  stop_holding(task, run, priority, slot)
  return 'cancelled'
end

local function cancel(task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  if not text then
    return cancel_held(task, run)
  end
  local place = read_place(text)
  if place.state == 'q' and pending(place.priority, place.id) then
    redis.call('HSET', root .. ':live:' .. task, run, 'q !' .. string.sub(text, 4)) -- Whatever else it says.
    return 'requested'
  end
  remember(task, store_line(run, place.slot, place.attempt, 'cancelled', now, '', token_of(place.priority, place.id)))
  -- Its place goes last, because without it a repetition would find nothing to cancel.
  if place.state == 'q' then
    take(place.priority, place.id)
  else
    stop_waiting(task, run)
  end
  ended(task, run)
  return 'cancelled'
end

despite_full_memory()
local answers, requested = {}, false
open_streams()
for i = 4, #ARGV, 2 do
  local answer = cancel(ARGV[i], ARGV[i + 1])
  requested = requested or answer == 'requested'
  answers[#answers + 1] = answer
end
if requested then
  ring()
end
return answers
