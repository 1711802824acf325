-- Needs runs.
-- ARGV: delay, whether the attempts were started (0, 1), then for each claim: worker, token, task, run.
-- A run whose cancellation was requested ends. Answer: the numbers (from 0) of the lost claims.
local delay, started = tonumber(ARGV[4]), tonumber(ARGV[5])
allow_oom()
local lost = {}
for i = 6, #ARGV, 4 do
  local worker, token, task, run = unpack(ARGV, i, i + 3)
  local text = text_of_claim(worker, token, task, run)
  local entry, body = text and parse_entry(text), text and claimed_body(worker, task, run)
  if not body or not entry then
    lost[#lost + 1] = (i - 6) / 4
  end
  if entry and not body then
    end_as_lost(task, run, entry)
  elseif entry and entry.flag == '!' then
    append_history(task, history_line(run, entry, 'cancelled', steady(), worker, token))
    end_run(task, run)
  elseif entry then
    entry.attempt = entry.attempt + started
    if delay > 0 then
      postpone(task, run, entry, body, 'pause', steady() + delay)
    else
      queue(task, run, entry, body)
    end
  end
  if entry then
    drop_claim(worker, task, run)
  end
end
delete_dropped_claims()
return lost
