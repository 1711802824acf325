-- Needs runs.
-- ARGV: delay, whether the attempts were started (0, 1), then per claim: priority, entry, worker, task, run.
-- A run that somebody wants cancelled ends. Answer: the numbers (from 0) of the lost claims.
local delay, started = tonumber(ARGV[4]), tonumber(ARGV[5])
despite_full_memory()
local lost = {}
for i = 6, #ARGV, 5 do
  local priority, id, worker, task, run = unpack(ARGV, i, i + 4)
  local text = held_by(priority, id, worker, task, run)
  local fields = text and entry(priority, id)
  if not fields then
    lost[#lost + 1] = (i - 6) / 5
    local claim = pending(priority, id)
    if claim and claim[2] == worker and not place_at(priority, id, entry(priority, id)) then
      take(priority, id) -- Nobody could ever settle it.
    end
  else
    local place = read_place(text)
    local attempt = place.attempt + started
    if place.cancelling then
      remember(task, store_line(run, place.slot, place.attempt, 'cancelled', now, worker, token_of(priority, id)))
      ended(task, run)
    elseif delay > 0 then
      postpone(task, run, priority, id, place.slot, attempt, place.failures, place.losses, fields[BODY], 'pause',
        now + delay)
    else
      queue(task, run, priority, place.slot, attempt, place.failures, place.losses, fields[BODY])
    end
    take(priority, id)
  end
end
return lost
