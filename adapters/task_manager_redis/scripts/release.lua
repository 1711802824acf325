-- Needs runs.
-- ARGV: delay, whether the attempts were started (0, 1), then per claim: worker, token, task, run.
-- A run that somebody wants cancelled ends. Answer: the numbers (from 0) of the lost claims.
local delay, started = tonumber(ARGV[4]), tonumber(ARGV[5])
despite_full_memory()
local lost = {}
for i = 6, #ARGV, 4 do
  local worker, token, task, run = unpack(ARGV, i, i + 3)
  local text = held_by(worker, token, task, run)
  local place, body = text and read_place(text), text and claimed_body(worker, task, run)
  if not body or not place then
    lost[#lost + 1] = (i - 6) / 4
  end
  if place and not body then
    give_up(task, run, place)
  elseif place and place.flag == '!' then
    remember(task, store_line(run, place, 'cancelled', steady(), worker, token))
    ended(task, run)
  elseif place then
    place.attempt = place.attempt + started
    if delay > 0 then
      postpone(task, run, place, body, 'pause', steady() + delay)
    else
      queue(task, run, place, body)
    end
  end
  if place then
    stop_claiming(worker, task, run)
  end
end
forget_claims()
return lost
