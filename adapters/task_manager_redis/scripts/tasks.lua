-- Definitions, next slots, and the two indexes of tasks.

local SKIPS_KEPT = 100
local CHANGES_KEPT = 10000

local function task_exists(task)
  return redis.call('HEXISTS', root .. ':task:' .. task, 'version') == 1
end

-- Record skips: slots that will not be dispatched. From ARGV[at] on each skip has three arguments: reason, count, text.
local function skip(task, at, count)
  if count == 0 then
    return
  end
  local skipped, counted = root .. ':skipped:' .. task, {}
  for i = at, at + 3 * (count - 1), 3 do
    append_line(skipped, SKIPS_KEPT, ARGV[i + 2])
    counted[ARGV[i]] = (counted[ARGV[i]] or 0) + ARGV[i + 1]
  end
  for reason, slots in pairs(counted) do
    redis.call('HINCRBY', root .. ':task:' .. task, 'skipped:' .. reason, slots)
  end
end

-- Set the next slot of a task and its due instant. An empty slot ends the schedule. More fields of the task may follow.
local function set_next_slot(task, slot, due, ...)
  local key = root .. ':task:' .. task
  if slot == '' then
    redis.call('HDEL', key, 'slot', 'due')
    redis.call('ZADD', agenda, '+inf', task)
    if ... then
      redis.call('HSET', key, ...)
    end
  else
    redis.call('HSET', key, 'slot', slot, 'due', due, ...)
    redis.call('ZADD', agenda, due, task)
  end
end

-- Add a change to the chain. A stream takes ids in their order only. If its last id is not below this one (another
-- program has added an item), the chain begins again here, and every reader reads everything once.
local function add_change(version, before, task)
  local function add(call)
    return call('XADD', changes, 'MAXLEN', CHANGES_KEPT, string.format('%.0f-0', version),
      'before', string.format('%.0f', before), 'task', task)
  end
  local answer = add(redis.pcall)
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'smaller', 1, true) then
      redis.call('UNLINK', changes)
    end
    add(redis.call)
  end
end

-- The version of the store. If its key was deleted, the greatest version of a task is used.
local function store_version()
  return integer(redis.call('GET', root .. ':version'))
    or tonumber(redis.call('ZRANGE', catalogue, -1, -1, 'WITHSCORES')[2])
    or 0
end

-- Take the version of the next change, which concerns this task. A script calls this before it makes the change: if it
-- stops between the two, a reader only reads a task that has not changed. Versions are microseconds, so that many
-- changes at once do not run ahead of the clock: a store that falls back to an older state then gives no version again.
local last_version
local function next_version(task)
  local before = last_version or store_version()
  local version = math.max(before + 1, steady() * 1000 + server_time[2] % 1000)
  add_change(version, before, task)
  redis.call('SET', root .. ':version', version)
  if not last_version then
    redis.call('SETNX', root .. ':incarnation', version)
  end
  last_version = version
  return version
end

-- Write tasks into both indexes as their hashes say. A task without a hash is removed from both, under a new version,
-- so that every reader learns of it.
local function index_tasks(tasks)
  local removed = 0
  for _, task in ipairs(tasks) do
    local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'due')
    if integer(stored[1]) and string.find(task, '^[^/ ]+/[^/ ]+$') then
      local retired = redis.call('SISMEMBER', root .. ':retired', task) == 1
      redis.call('ZADD', catalogue, stored[1], task)
      redis.call('ZADD', agenda, not retired and integer(stored[2]) or '+inf', task)
    else
      local known = redis.call('ZREM', agenda, task) + redis.call('ZREM', catalogue, task)
      if known > 0 then
        next_version(task)
      end
      removed = removed + known
    end
  end
  if removed > 0 then
    notify()
  end
end

-- Build a deleted index again, from the other one. A script calls this before it relies on an index.
local function repair_indexes()
  if redis.call('ZCARD', catalogue) ~= redis.call('ZCARD', agenda) then
    allow_oom()
    index_tasks(redis.call('ZRANGE', catalogue, 0, -1))
    index_tasks(redis.call('ZRANGE', agenda, 0, -1))
  end
end
