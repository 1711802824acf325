-- Needs runs.
-- ARGV: worker, then for each settlement: token, task, run, milliseconds until the next attempt (or 'end'), line of
-- history.
-- A run whose cancellation was requested is not tried again.
-- Answer: the numbers (from 0) of the lost claims.
allow_oom()
local lost = {}
local worker = ARGV[4]
for i = 5, #ARGV, 5 do
  local token, task, run, delay, line = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local text = text_of_claim(worker, token, task, run)
  if not text then
    lost[#lost + 1] = (i - 5) / 5
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
