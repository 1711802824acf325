-- Needs runs and tasks.
-- ARGV: holder, token, then for each decision: task, version, slot, next slot and its due instant (both empty: the
-- schedule has ended), the last slot that is decided about (empty: none), exclusive (0, 1), the numbers of runs to
-- dispatch, of runs to hold and of skips; for each of these runs: run, priority, slot, body; for each skip: reason,
-- count, text.
-- Answer: nil if the term is over; else for each decision 1 if it was kept, 0 if it was overtaken.
if not is_current_term(ARGV[4], ARGV[5]) then
  return false
end
advance_progress()

-- Whether the runs of a task permit to dispatch and to hold so many runs.
local function is_allowed(task, stored, exclusive, dispatched, held_count)
  if (dispatched > 0 or held_count > 0) and stored[3] then
    return false
  end
  if dispatched > 0 and redis.call('HLEN', root .. ':retry:' .. task) > 0 then
    return false
  end
  if held_count == 0 and not (dispatched > 0 and exclusive) then
    return true
  end
  local live, held = count_runs(task)
  if dispatched > 0 and exclusive and live + held > 0 then
    return false
  end
  return held_count == 0 or (held == 0 and live + dispatched > 0)
end

local answers = {}
local at = 6
while at <= #ARGV do
  local task, version, slot, next_slot, next_due, decided, exclusive = unpack(ARGV, at, at + 6)
  local dispatched, held_count, skips = unpack(ARGV, at + 7, at + 9)
  dispatched, held_count, skips = tonumber(dispatched), tonumber(held_count), tonumber(skips)
  local runs = at + 10
  local skipped = runs + 4 * (dispatched + held_count)
  at = skipped + 3 * skips

  local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'slot', 'paused')
  local kept = stored[1] == version and stored[2] == slot
    and redis.call('SISMEMBER', root .. ':retired', task) == 0
    and is_allowed(task, stored, exclusive == '1', dispatched, held_count)
  if kept then
    skip(task, skipped, skips)
    for i = runs, runs + 4 * (dispatched - 1), 4 do
      queue(task, ARGV[i], new_entry(ARGV[i + 1], ARGV[i + 2]), ARGV[i + 3])
    end
    if held_count > 0 then
      local i = runs + 4 * dispatched
      hold(task, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    end
    if decided ~= '' then
      redis.call('HSET', root .. ':task:' .. task, 'decided', decided)
    end
    set_next_slot(task, next_slot, next_due)
  end
  answers[#answers + 1] = kept and 1 or 0
end
return answers
