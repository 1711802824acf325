-- Needs runs and tasks.
-- ARGV: holder, token, then for each decision: task, version, slot, next slot and its due instant (both empty: the
-- schedule has ended), the last slot that is decided about (empty: none), the limit of live runs of the dispatched
-- runs (0: none), the numbers of runs to dispatch, of runs to hold and of skips; for each of these runs: run, lane,
-- slot, body; for each skip: reason, count, text.
-- Answer: nil if the term is over; else for each decision 1 if it was kept, 0 if it was overtaken.
if not is_current_term(ARGV[4], ARGV[5]) then
  return false
end
advance_progress()

local any_retired = redis.call('SCARD', root .. ':retired') > 0

local function is_retired(task)
  return any_retired and redis.call('SISMEMBER', root .. ':retired', task) == 1
end

-- Whether the runs of a task permit to dispatch and to hold so many runs. A run that waits for a retry is a live run.
local function is_allowed(task, limit, dispatched, held_count)
  local live = redis.call('HLEN', root .. ':live:' .. task)
  if dispatched > 0 and live > 0 and redis.call('HLEN', root .. ':retry:' .. task) > 0 then
    return false
  end
  if held_count == 0 and limit == 0 then
    return true
  end
  local held
  live, held = count_runs(task, live)
  if dispatched > 0 and limit > 0 and (held > 0 or live + dispatched > limit) then
    return false
  end
  return held_count == 0 or (held == 0 and live + dispatched > 0)
end

local answers, indexed = {}, {}
local at = 6
while at <= #ARGV do
  local task, version, slot, next_slot, next_due, decided, limit = unpack(ARGV, at, at + 6)
  local dispatched, held_count, skips = tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9])
  local runs = at + 10
  local skipped = runs + 4 * (dispatched + held_count)
  at = skipped + 3 * skips

  local key = root .. ':task:' .. task
  local stored = redis.call('HMGET', key, 'version', 'slot', 'paused', 'due')
  local is_due = (integer(stored[4]) or now) <= now
  local kept = stored[1] == version and stored[2] == slot and is_due and not is_retired(task)
  if kept and dispatched + held_count > 0 then
    kept = not stored[3] and is_allowed(task, tonumber(limit), dispatched, held_count)
  end
  if kept then
    skip(task, skipped, skips)
    for i = runs, runs + 4 * (dispatched - 1), 4 do
      queue_new(task, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    end
    if held_count > 0 then
      local i = runs + 4 * dispatched
      hold(task, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    end
    if next_slot ~= '' and decided ~= '' then
      redis.call('HSET', key, 'decided', decided, 'slot', next_slot, 'due', next_due)
    else
      if decided ~= '' then
        redis.call('HSET', key, 'decided', decided)
      end
      if next_slot ~= '' then
        redis.call('HSET', key, 'slot', next_slot, 'due', next_due)
      else
        redis.call('HDEL', key, 'slot', 'due')
        next_due = '+inf'
      end
    end
    indexed[#indexed + 1] = next_due
    indexed[#indexed + 1] = task
  end
  answers[#answers + 1] = kept and 1 or 0
end
-- Last, and all at once. If the script stops before, the tasks are still in the agenda as due, and it writes their
-- entries again.
spread(indexed, function(...) redis.call('ZADD', agenda, ...) end)
return answers
