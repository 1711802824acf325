-- Definitions, plans, and the two indexes of tasks.

local SKIPS_KEPT = 100
local CHANGES_KEPT = 10000

local function exists(task)
  return redis.call('HEXISTS', root .. ':task:' .. task, 'version') == 1
end

-- Record slots that will not be dispatched: three arguments each, reason, count and text, from ARGV[at] on.
local function skip(task, at, count)
  if count == 0 then
    return
  end
  local skips, counted = root .. ':skips:' .. task, {}
  for i = at, at + 3 * (count - 1), 3 do
    note(skips, SKIPS_KEPT, ARGV[i + 2])
    counted[ARGV[i]] = (counted[ARGV[i]] or 0) + ARGV[i + 1]
  end
  for reason, slots in pairs(counted) do
    redis.call('HINCRBY', root .. ':task:' .. task, 'skipped:' .. reason, slots)
  end
end

-- Set the next slot of a task; an empty one ends its schedule.
local function plan(task, slot, due)
  local key = root .. ':task:' .. task
  if slot == '' then
    redis.call('HDEL', key, 'slot', 'due')
    redis.call('ZADD', agenda, '+inf', task)
  else
    redis.call('HSET', key, 'slot', slot, 'due', due)
    redis.call('ZADD', agenda, due, task)
  end
end

-- If the key is lost, the newest definition still tells.
local function version_of_store()
  return integer(redis.call('GET', root .. ':version'))
    or tonumber(redis.call('ZRANGE', catalogue, -1, -1, 'WITHSCORES')[2])
    or 0
end

-- A version for the next change, which is one of this task. Called before the change is made: if the script is stopped
-- in between, a reader looks at a task that is as before.
local function next_version(task)
  local before = version_of_store()
  local version = math.max(before + 1, steady())
  redis.call('ZADD', changes, version, string.format('%.0f %.0f %s', version, before, task))
  redis.call('ZREMRANGEBYRANK', changes, 0, -1 - CHANGES_KEPT)
  redis.call('SET', root .. ':version', version)
  redis.call('SETNX', root .. ':incarnation', version)
  return version
end

-- Write tasks into both indexes as their hashes say. One without a hash is no task any more, and everybody learns it.
local function index(tasks)
  local gone = 0
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
      gone = gone + known
    end
  end
  if gone > 0 then
    ring()
  end
end

-- Called before a script relies on an index: if somebody deleted one of the two, it is made of the other.
local function mend_indexes()
  if redis.call('ZCARD', catalogue) ~= redis.call('ZCARD', agenda) then
    despite_full_memory()
    index(redis.call('ZRANGE', catalogue, 0, -1))
    index(redis.call('ZRANGE', agenda, 0, -1))
  end
end
