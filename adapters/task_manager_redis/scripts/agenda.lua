-- Needs runs and tasks.
-- ARGV: limit, how many of the listed tasks to skip first, milliseconds: tasks that fall due within this time are listed
-- too; holder and token of the leader that reads, if one does.
-- Answer: now, the next due instant after now ('' for none), the listed tasks, anomalies, the number of tasks that are
-- due at that next instant.
-- A listed task: task, version, slot, due, paused, resumed_at, number of live runs, of held runs, of retries.
local rows, stale = {}, {}
steady(1000) -- The leader reads the agenda every few seconds, so the store notices that its clock was set back.

-- Workers that wait have found no run, and read no more. A run that begins to wait, or is queued, wakes one of them in
-- time, unless the process that has to do it dies. This reading is then the one that wakes a worker.
promote_due()
wake_for_queued()

-- While nothing is due, one command tells so.
local horizon = now + ARGV[6]
local next_due, due = first_due(), {}
local is_due = next_due and next_due <= now
if next_due and next_due <= horizon then
  allow_oom() -- The tasks that are found may need a repair. Without due tasks this script writes nothing here.
  due = redis.call('ZRANGEBYSCORE', agenda, '-inf', horizon, 'LIMIT', ARGV[5], ARGV[4])
end
if is_due and ARGV[7] and is_current_term(ARGV[7], ARGV[8]) then
  advance_progress()
end
for _, task in ipairs(due) do
  local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'slot', 'due', 'paused', 'resumed_at')
  local version, slot, at = integer(stored[1]), integer(stored[2]), integer(stored[3])
  if version and (slot or at) and not (slot and at) then
    report('the next slot of ' .. task, 'slot or due instant is no instant: the other one is used for both')
    slot, at = slot or at, at or slot
    set_next_slot(task, slot, at)
  end
  if version and slot and at and at <= horizon then
    local live, held = count_runs(task)
    if live > 0 then
      repair_waiting(task)
    end
    rows[#rows + 1] = {
      task, version, slot, at, stored[4] or '', integer(stored[5]) and stored[5] or '', live, held,
      redis.call('HLEN', root .. ':retry:' .. task),
    }
  elseif version and stored[2] and stored[3] and not (slot or at) then
    report('the next slot of ' .. task, 'it is no instant: the task is not scheduled until its next slot is set again')
    redis.call('ZADD', agenda, '+inf', task)
  else
    stale[#stale + 1] = task -- Its hash was deleted, or a script stopped half-way.
  end
end
index_tasks(stale)
if is_due then
  next_due = tonumber(redis.call('ZRANGEBYSCORE', agenda, '(' .. now, '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
end
if #rows == 0 and not next_due then
  repair_indexes() -- The next agenda shows the result. While a task is planned, a snapshot repairs the indexes instead.
end
local upcoming = 0
if next_due then
  next_due = string.format('%.0f', next_due)
  upcoming = redis.call('ZCOUNT', agenda, next_due, next_due)
end
return { now, next_due or '', rows, anomalies, upcoming }
