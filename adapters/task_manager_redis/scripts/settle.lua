-- Needs runs.
-- ARGV for each settlement: worker, token, task, run, milliseconds until the next attempt (or 'end'), line of history.
-- A run whose cancellation was requested is not tried again.
-- Answer: the numbers (from 0) of the lost claims.
allow_oom()
local lost = {}
for i = 4, #ARGV, 6 do
  local worker, token, task, run, delay, line = unpack(ARGV, i, i + 5)
  local text = text_of_claim(worker, token, task, run)
  if not text then
    lost[#lost + 1] = (i - 4) / 6
  else
    local body = delay ~= 'end' and string.sub(text, 3, 3) ~= '!' and claimed_body(worker, task, run)
    append_history(task, line)
    local entry = body and parse_entry(text)
    if entry then
      entry.attempt, entry.failures = entry.attempt + 1, entry.failures + 1
      postpone(task, run, entry, body, 'retry', steady() + delay)
    else
      end_run(task, run)
    end
    drop_claim(worker, task, run)
  end
end
delete_dropped_claims()
return lost
