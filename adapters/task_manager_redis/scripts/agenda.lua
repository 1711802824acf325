-- Needs runs and tasks.
-- ARGV: limit, how many due tasks to skip first; holder and token of the leader that reads, if one does.
-- Answer: now, the next due instant after now ('' for none), the due tasks, anomalies.
-- A due task: task, version, slot, due, paused, resumed_at, number of live runs, of held runs, of retries.
local rows, stale = {}, {}
steady(100) -- The leader reads the agenda often, so the store notices soon that its clock was set back.
local due = redis.call('ZRANGEBYSCORE', agenda, '-inf', now, 'LIMIT', ARGV[5], ARGV[4])
if due[1] then
  allow_oom() -- The tasks that are found may need a repair. Without due tasks this script writes nothing here.
end
local listed_all = ARGV[4] ~= '0' and ARGV[5] == '0'
if ARGV[6] and (due[1] or not listed_all and (first_due() or now + 1) <= now) and is_current_term(ARGV[6], ARGV[7]) then
  allow_oom()
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
  if version and slot and at and at <= now then
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
local next_due = redis.call('ZRANGEBYSCORE', agenda, '(' .. now, '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if #rows == 0 and not next_due[1] then
  repair_indexes() -- The next agenda shows the result. While a task is planned, a snapshot repairs the indexes instead.
end
return { now, next_due[2] or '', rows, anomalies }
