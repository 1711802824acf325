-- Needs runs and tasks.
-- ARGV: how long a request is remembered, then per run: run, task, priority, slot, exclusive (0, 1), body.
-- Answer per run: the value of Enqueued.
local memory = tonumber(ARGV[4])

local function lives(live, held, run)
  return redis.call('HEXISTS', live, run) == 1 or redis.call('HEXISTS', held, run) == 1
end

local function enqueue(run, task, priority, slot, exclusive, body)
  if not exists(task) then
    return 'unknown_task'
  end
  local requested, live, held = root .. ':requested:' .. run, root .. ':live:' .. task, root .. ':held:' .. task
  -- The instant inside decides; the time to live only sweeps.
  if (tonumber(redis.call('GET', requested)) or 0) > now or lives(live, held, run) then
    return 'duplicate'
  end
  local holding = exclusive == '1' and standing(task) > 0
  if holding then
    hold(task, run, priority, slot, body)
  else
    queue(task, run, new_place(priority, slot), body)
  end
  -- Only now: of a run that was not queued nobody may think that it was.
  redis.call('SET', requested, now + memory, 'PX', memory)
  return holding and 'held' or 'queued'
end

local answers = {}
for i = 5, #ARGV, 6 do
  answers[#answers + 1] = enqueue(unpack(ARGV, i, i + 5))
end
return answers
