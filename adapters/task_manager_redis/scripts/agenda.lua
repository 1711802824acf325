-- Needs runs and tasks.
-- ARGV: limit, how many to leave out before. Answer: now, the next instant after now ('' for none), and per due task: task, version, slot, due,
-- paused, resumed_at, live, held, retrying; and what is strange.
local rows, stale = {}, {}
steady(100) -- So that a clock which is set back is noticed soon, whatever else is asked.
local due = redis.call('ZRANGEBYSCORE', agenda, '-inf', now, 'LIMIT', ARGV[5], ARGV[4])
if due[1] then
  despite_full_memory() -- To mend what is found. A look that finds nothing writes nothing.
end
for _, task in ipairs(due) do
  local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'slot', 'due', 'paused', 'resumed_at')
  local version, slot, at = integer(stored[1]), integer(stored[2]), integer(stored[3])
  if version and (slot or at) and not (slot and at) then
    wonder('the next slot of ' .. task, 'slot or due instant is none: the other one stands for both')
    slot, at = slot or at, at or slot
    plan(task, slot, at)
  end
  if version and slot and at and at <= now then
    local live, held = standing(task)
    if live > 0 then
      mend_waiting(task)
    end
    rows[#rows + 1] = {
      task, version, slot, at, stored[4] or '', integer(stored[5]) and stored[5] or '', live, held,
      redis.call('HLEN', root .. ':retry:' .. task),
    }
  elseif version and stored[2] and stored[3] and not (slot or at) then
    wonder('the next slot of ' .. task, 'it is no instant: the task is not scheduled until it gets another one')
    redis.call('ZADD', agenda, '+inf', task)
  else
    stale[#stale + 1] = task -- Deleted by hand, or by a script that was stopped half-way.
  end
end
index(stale)
local following = redis.call('ZRANGEBYSCORE', agenda, '(' .. now, '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if #rows == 0 and not following[1] then
  mend_indexes() -- For the next look. A snapshot does it where something has been planned since.
end
return { now, following[2] or '', rows, strange }
