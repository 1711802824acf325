-- Needs tasks.
-- One page of a reading. A reading names the changes after a version; or all tasks, and the changes in the meantime.
-- ARGV: the version that the reader knows, the position of this page (two values, both '' for the first page), the
-- size of a page, most bytes of definitions. The position: the version up to which the changes were read, and the
-- score in the catalogue up to which the tasks were read ('': all tasks have been read).
-- Answer: nil if nothing has changed; else version, incarnation, whether the reading is complete (0, 1), the position
-- of the next page (two values), whether this is the last page (0, 1), the number of tasks, the rows.
-- A row: task, text (nil if the reader knows it), version (empty if the task was removed), whether it is retired.
local known_version, read_to, task_score = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local size, most_bytes = tonumber(ARGV[7]), tonumber(ARGV[8])
local everything, broken = false, false
local names, bytes = {}, 0

-- Add a task to this page. The answer: whether another task may follow.
local function add(task)
  names[#names + 1] = task
  bytes = bytes + redis.call('HSTRLEN', root .. ':task:' .. task, 'definition')
  return bytes < most_bytes
end

-- Follow the chain of changes: each change names the version before it. The answer is false if the chain has a gap. A
-- gap has three possible reasons: an older release made a change and did not write it here, the store was set back, or
-- the change is too old to be kept.
local BEFORE, TASK = 2, 4 -- The indexes of an item's values in the answer of XRANGE.
local function follow_changes()
  local found = redis.call('XRANGE', changes, string.format('%.0f', read_to + 1), '+', 'COUNT', size)
  for _, change in ipairs(found) do
    local version, before, task = string.match(change[1], '^%d+'), change[2][BEFORE], change[2][TASK]
    if not task or integer(before) ~= read_to then
      return false
    end
    read_to = integer(version)
    if not add(task) then
      return true
    end
  end
  return #found == size or read_to == store_version()
end

if not read_to then
  read_to = known_version
  if known_version == store_version() then
    return false
  end
  repair_indexes()
  everything = known_version <= 0 or not follow_changes()
  if everything then
    known_version, read_to, task_score, names, bytes = 0, store_version(), '0', {}, 0
  end
elseif task_score == '' then
  broken = not follow_changes() -- The reader gets another complete reading the next time.
end
if task_score ~= '' then
  local found = redis.call('ZRANGEBYSCORE', catalogue, '(' .. task_score, '+inf', 'WITHSCORES', 'LIMIT', 0, size)
  task_score = #found == 2 * size and found[#found] or ''
  for i = 1, #found, 2 do
    if not add(found[i]) then
      task_score = found[i + 1]
      break
    end
  end
end

local rows, removed, seen = {}, {}, {}
for _, task in ipairs(names) do
  if not seen[task] then
    seen[task] = true
    local stored = redis.call('HMGET', root .. ':task:' .. task, 'definition', 'version')
    local version = stored[1] and integer(stored[2])
    if not version then
      removed[#removed + 1] = task
    end
    rows[#rows + 1] = {
      task, version and version > known_version and stored[1] or false, version and stored[2] or '',
      redis.call('SISMEMBER', root .. ':retired', task),
    }
  end
end
if removed[1] then
  allow_oom()
  index_tasks(removed)
end
local version = store_version()
local incarnation = integer(redis.call('GET', root .. ':incarnation'))
if not incarnation and version > 0 then
  allow_oom()
  redis.call('SET', root .. ':incarnation', version)
  incarnation = version
end
return {
  read_to, incarnation or '0', everything and 1 or 0, read_to, task_score,
  (broken or (task_score == '' and read_to == version)) and 1 or 0, redis.call('ZCARD', catalogue), rows,
}
