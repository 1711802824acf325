-- Needs runs.
-- ARGV for each run: task, run. Answer for each run: a value of the enumeration Cancelling.
local function cancel_held(task, run)
  local text = redis.call('HGET', root .. ':held:' .. task, run)
  if not text then
    return 'not_live'
  end
  local lane, slot = parse_held(text)
  append_history(task, history_line(run, new_entry(lane, slot), 'cancelled', steady(), '', '0'))
  remove_held(task, run, lane, slot)
  queue_next_held(task, redis.call('HLEN', root .. ':live:' .. task)) -- The cancelled run may have had a smaller limit.
  return 'cancelled'
end

local function cancel(task, run)
  local entry = entry_of(task, run)
  if not entry then
    return cancel_held(task, run)
  end
  if entry.state == 'c' then
    entry.flag = '!'
    save_entry(task, run, entry)
    return 'requested'
  end
  -- No worker has claimed this attempt, so its line has no worker and the token 0.
  append_history(task, history_line(run, entry, 'cancelled', steady(), '', '0'))
  -- The run entry is deleted last: without it, a repeated request would find nothing to cancel.
  if entry.state == 'q' then
    redis.call('XDEL', streams[entry.lane], entry.stream_id)
  else
    stop_waiting(task, run)
  end
  end_run(task, run)
  return 'cancelled'
end

allow_oom()
local answers, requested = {}, false
create_streams()
for i = 4, #ARGV, 2 do
  local answer = cancel(ARGV[i], ARGV[i + 1])
  requested = requested or answer == 'requested'
  answers[#answers + 1] = answer
end
if requested then
  notify()
end
return answers
