-- Needs tasks.
-- One page of a reading: of the changes after a version, or of everything that exists and of the changes meanwhile.
-- ARGV: version that the reader knows; of the next page the version after which changes follow, and the score after
-- which tasks follow ('' in the first page, or when all tasks have been read); size of a page, most bytes of definitions.
-- Answer: nil when nothing changed; else version, incarnation, whether everything follows (0, 1), where the next page
-- begins (two, as in ARGV), whether this is the last page (0, 1), number of tasks, rows. A row: task, text (nil if the
-- reader knows it), version (empty if the task is gone), whether it is retired.
local since, at, walk, size, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local everything, broken = false, false
local names, bytes = {}, 0

-- Put a task into this page; the answer: may another one follow?
local function add(task)
  names[#names + 1] = task
  bytes = bytes + redis.call('HSTRLEN', root .. ':task:' .. task, 'definition')
  return bytes < most_bytes
end

-- Every change names the version before it. A gap in this chain is a change that nobody noted here: an older release
-- made it, or the store was set back, or forgot.
local function follow()
  local found = redis.call('ZRANGEBYSCORE', changes, string.format('(%.0f', at), '+inf', 'LIMIT', 0, size)
  for _, change in ipairs(found) do
    local version, before, task = string.match(change, '^(%d+) (%d+) (.*)$')
    if integer(before) ~= at then
      return false
    end
    at = integer(version)
    if not add(task) then
      return true
    end
  end
  return #found == size or at == version_of_store()
end

if not at then
  at = since
  if since == version_of_store() then
    return false
  end
  mend_indexes()
  everything = since <= 0 or not follow()
  if everything then
    since, at, walk, names, bytes = 0, version_of_store(), '0', {}, 0
  end
elseif walk == '' then
  broken = not follow() -- The reader begins again with its next reading.
end
if walk ~= '' then
  local found = redis.call('ZRANGEBYSCORE', catalogue, '(' .. walk, '+inf', 'WITHSCORES', 'LIMIT', 0, size)
  walk = #found == 2 * size and found[#found] or ''
  for i = 1, #found, 2 do
    if not add(found[i]) then
      walk = found[i + 1]
      break
    end
  end
end

local rows, gone, seen = {}, {}, {}
for _, task in ipairs(names) do
  if not seen[task] then
    seen[task] = true
    local stored = redis.call('HMGET', root .. ':task:' .. task, 'definition', 'version')
    local version = stored[1] and integer(stored[2])
    if not version then
      gone[#gone + 1] = task
    end
    rows[#rows + 1] = {
      task, version and version > since and stored[1] or false, version and stored[2] or '',
      redis.call('SISMEMBER', root .. ':retired', task),
    }
  end
end
if gone[1] then
  despite_full_memory()
  index(gone)
end
local version = version_of_store()
local incarnation = integer(redis.call('GET', root .. ':incarnation'))
if not incarnation and version > 0 then
  despite_full_memory()
  redis.call('SET', root .. ':incarnation', version)
  incarnation = version
end
return {
  at, incarnation or '0', everything and 1 or 0, at, walk, (broken or (walk == '' and at == version)) and 1 or 0,
  redis.call('ZCARD', catalogue), rows,
}
