-- Needs runs and tasks.
-- One step of a repair of runs that no other script would find, because the keys that lead to them were deleted. The
-- steps go through all tasks, and begin again after the last one.
-- ARGV: holder, token, the position where the last step ended (the version of a task; a cursor among its runs, 0: after
-- them), most tasks, most runs, most bytes of bodies.
-- Answer: nil if the term is over; else the position where this step ended (two values; 0 and 0: after the last task),
-- anomalies.
if not is_current_term(ARGV[4], ARGV[5]) then
  return false
end
local version, cursor = ARGV[6], ARGV[7]
local most_tasks, most_runs, most_bytes = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local runs, bytes = 0, 0

local function repair_run(task, run, text)
  local entry, where = parse_entry(text), 'run ' .. run .. ' of ' .. task
  runs = runs + 1
  if not entry then
    allow_oom()
    report(where, 'its entry cannot be read: it ends as lost')
    end_as_lost(task, run, new_entry('low', '-'))
  elseif entry.state == 'c' then
    repair_claim(entry.worker, task, run)
  elseif entry.state == 'q' then
    local item = redis.call('XRANGE', streams[entry.lane], entry.stream_id, entry.stream_id)[1]
    bytes = bytes + (item and #(item[2][BODY] or '') or 0)
    if item then
      index_lane(entry.lane)
    else
      allow_oom()
      report(where, 'its item in the stream was deleted: it ends as lost')
      end_as_lost(task, run, entry)
    end
  elseif not redis.call('ZSCORE', waiting, task .. ' ' .. run) then
    allow_oom()
    redis.call('ZADD', waiting, entry.due, task .. ' ' .. run) -- If its body was deleted, promote_due ends the run.
  end
end

create_streams()
local tasks = redis.call('ZRANGEBYSCORE', catalogue, (cursor == '0' and '(' or '') .. version, '+inf', 'WITHSCORES',
  'LIMIT', 0, most_tasks)

-- Most tasks have no runs: one EXISTS asks about several tasks.
local TOGETHER = 100
local function any_runs(first, last)
  local keys = {}
  for i = first, last, 2 do
    keys[#keys + 1], keys[#keys + 2] = root .. ':live:' .. tasks[i], root .. ':held:' .. tasks[i]
  end
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- Repair the runs of a task. The answer: whether the step ends here, because it has met enough runs or bytes.
local function repair_runs_of(task)
  repeat
    local page = redis.call('HSCAN', root .. ':live:' .. task, cursor, 'COUNT', 20)
    cursor = page[1]
    for j = 1, #page[2], 2 do
      repair_run(task, page[2][j], page[2][j + 1])
    end
    if runs >= most_runs or bytes >= most_bytes then
      return true
    end
  until cursor == '0'
  if redis.call('HLEN', root .. ':held:' .. task) > 0 then
    allow_oom()
    count_runs(task)
  end
  return false
end

for first = 1, #tasks, 2 * TOGETHER do
  local last = math.min(first + 2 * TOGETHER, #tasks + 1) - 2
  if any_runs(first, last) then
    for i = first, last, 2 do
      version = tasks[i + 1]
      if repair_runs_of(tasks[i]) then
        return { version, cursor, anomalies }
      end
    end
  end
  version, cursor = tasks[last + 1], '0'
end
return { #tasks == 2 * most_tasks and version or '0', '0', anomalies }
