-- Needs runs.
-- ARGV per run: task, run. Answer per run: the value of Cancelling.
local function cancel_held(task, run)
  local text = redis.call('HGET', root .. ':held:' .. task, run)
  if not text then
    return 'not_live'
  end
  local priority, slot = read_held(text)
  remember(task, store_line(run, new_place(priority, slot), 'cancelled', steady(), '', '0'))
  stop_holding(task, run, priority, slot)
  return 'cancelled'
end

local function cancel(task, run)
  local place = place_of(task, run)
  if not place then
    return cancel_held(task, run)
  end
  if place.state == 'c' then
    place.flag = '!'
    stand(task, run, place)
    return 'requested'
  end
  -- An attempt that nobody claimed has no token.
  remember(task, store_line(run, place, 'cancelled', steady(), '', '0'))
  -- Its place goes last, because without it a repetition would find nothing to cancel.
  if place.state == 'q' then
    redis.call('XDEL', streams[place.priority], place.id)
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
