-- Needs runs.
-- ARGV per settlement: worker, token, task, run, milliseconds until the next attempt or 'end', line of history. A run
-- that somebody wants cancelled is not tried again.
-- Answer: the numbers (from 0) of the lost claims.
despite_full_memory()
local lost = {}
for i = 4, #ARGV, 6 do
  local worker, token, task, run, delay, line = unpack(ARGV, i, i + 5)
  local text = held_by(worker, token, task, run)
  if not text then
    lost[#lost + 1] = (i - 4) / 6
  else
    local body = delay ~= 'end' and string.sub(text, 3, 3) ~= '!' and claimed_body(worker, task, run)
    remember(task, line)
    local place = body and read_place(text)
    if place then
      place.attempt, place.failures = place.attempt + 1, place.failures + 1
      postpone(task, run, place, body, 'retry', steady() + delay)
    else
      ended(task, run)
    end
    stop_claiming(worker, task, run)
  end
end
forget_claims()
return lost
