-- Needs runs and tasks.
-- ARGV: how long a request is remembered, what it asks, whether to compare only (0, 1), then per run: run, task,
-- priority, slot, exclusive (0, 1), body.
-- Answer: the runs of which something else was asked, and if there are none, per run the value of Enqueued.
local memory, asked, compared_only = tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1'
local FIRST, PER_RUN = 7, 6

-- requested:<run> tells until when it is remembered, of which life of its task, and what was asked. A task that was
-- removed and added again has another life, so a removal need not look for what is remembered. The instant decides; the
-- time to live only sweeps.
local function life(task)
  return redis.call('HGET', root .. ':task:' .. task, 'born') or '-'
end

local function remembered(run, task)
  local text = redis.call('GET', root .. ':requested:' .. run)
  local ends, born, what = string.match(text or '', '^(%d+) (%S+) (%S*)$')
  return ends and tonumber(ends) > steady() and born == life(task) and what
end

local function lives(live, held, run)
  return redis.call('HEXISTS', live, run) == 1 or redis.call('HEXISTS', held, run) == 1
end

local function enqueue(run, task, priority, slot, exclusive, body)
  if not exists(task) then
    return 'unknown_task'
  end
  local live, held = root .. ':live:' .. task, root .. ':held:' .. task
  if remembered(run, task) or lives(live, held, run) then
    return 'duplicate'
  end
  local holding = exclusive == '1' and standing(task) > 0
  if holding then
    hold(task, run, priority, slot, body)
  else
    queue(task, run, new_place(priority, slot), body)
  end
  -- Only now: of a run that was not queued nobody may think that it was.
  local text = table.concat({ string.format('%.0f', steady() + memory), life(task), asked }, ' ')
  redis.call('SET', root .. ':requested:' .. run, text, 'PX', memory)
  return holding and 'held' or 'queued'
end

local answers, others = {}, {}
for i = FIRST, #ARGV, PER_RUN do
  local what = remembered(ARGV[i], ARGV[i + 1])
  if what and what ~= asked then
    others[#others + 1] = ARGV[i]
  end
end
if #others == 0 and not compared_only then
  for i = FIRST, #ARGV, PER_RUN do
    answers[#answers + 1] = enqueue(unpack(ARGV, i, i + PER_RUN - 1))
  end
end
return { others, answers }
