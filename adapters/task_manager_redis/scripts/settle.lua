-- Needs runs.
-- ARGV per settlement: priority, entry, worker, task, run, milliseconds until the next attempt or 'end', line of
-- history. A run that somebody wants cancelled is not tried again.
-- Answer: the numbers (from 0) of the lost claims.
despite_full_memory()
local lost = {}
for i = 4, #ARGV, 7 do
  local priority, id, worker, task, run, delay, line = unpack(ARGV, i, i + 6)
  local text = held_by(priority, id, worker, task, run)
  if not text then
    lost[#lost + 1] = (i - 4) / 7
  else
    local fields = delay ~= 'end' and string.sub(text, 3, 3) ~= '!' and entry(priority, id)
    remember(task, line)
    if fields then
      local place = read_place(text)
      postpone(task, run, priority, id, place.slot, place.attempt + 1, place.failures + 1, place.losses,
        fields[BODY], 'retry', now + delay)
    else
      ended(task, run)
    end
    take(priority, id)
  end
end
return lost
