-- ARGV: how long a request is remembered, then per run: run, task, priority, slot, exclusive (0, 1), body.
-- Answer per run: the value of Enqueued.
local memory = tonumber(ARGV[4])

local function lives(run, task)
  if redis.call('HEXISTS', root .. ':live:' .. task, run) == 1 then
    return true
  end
  for _, text in ipairs(redis.call('LRANGE', root .. ':held:' .. task, 0, -1)) do
    local _, held = read_held(text)
    if held == run then
      return true
    end
  end
  return false
end

local function enqueue(run, task, priority, slot, exclusive, body)
  if not exists(task) then
    return 'unknown_task'
  end
  local requested, held = root .. ':requested:' .. run, root .. ':held:' .. task
  -- The instant inside decides; the time to live only sweeps.
  if (tonumber(redis.call('GET', requested)) or 0) > now or lives(run, task) then
    return 'duplicate'
  end
  redis.call('SET', requested, now + memory, 'PX', memory)
  if exclusive == '1' and redis.call('HLEN', root .. ':live:' .. task) + redis.call('LLEN', held) > 0 then
    redis.call('RPUSH', held, table.concat({ priority, run, slot, body }, ' '))
    return 'held'
  end
  queue(task, run, priority, slot, 1, 0, body)
  return 'queued'
end

local answers = {}
for i = 5, #ARGV, 6 do
  answers[#answers + 1] = enqueue(unpack(ARGV, i, i + 5))
end
return answers
