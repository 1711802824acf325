-- ARGV per settlement: priority, entry, worker, task, run, 'end' or the milliseconds until the next attempt, line of history.
-- Answer: the numbers (from 0) of the lost claims.
local lost = {}
for i = 4, #ARGV, 7 do
  local priority, id, worker, task, run, delay, line = unpack(ARGV, i, i + 6)
  local text = held_by(priority, id, worker, task, run)
  if not text then
    lost[#lost + 1] = (i - 4) / 7
  else
    local place = read_place(text)
    local fields = delay ~= 'end' and not place.cancelling and entry(priority, id)
    take(priority, id)
    remember(task, line)
    if fields then
      postpone(task, run, priority, id, place.slot, place.attempt + 1, place.failures + 1, fields[BODY],
        place.cancelling, 'retry', now + delay)
    else
      ended(task, run)
    end
  end
end
return lost
