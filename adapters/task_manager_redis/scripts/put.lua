-- Needs tasks.
-- ARGV for each definition: task, values, text; for each skip: reason, count, text.
-- The values are separated by commas: expected version, replan (0, 1), next slot and its due instant (both empty: the
-- schedule has ended), the slot that must be the stored next slot (empty: any), number of skips.
-- Answer for each definition: its version; for a conflict -1 - (the stored version).
local answers, changed = {}, false

local function put(task, expected, replan, slot, due, text, expected_slot, skips, at)
  local key = root .. ':task:' .. task
  local stored = redis.call('HMGET', key, 'version', 'definition', 'slot', 'due', 'decided')
  if not integer(stored[1]) then
    stored = {} -- A hash without a version is no task, whatever other fields are left.
  end
  local stored_version = stored[1] or '0'
  if stored[2] == text and redis.call('SISMEMBER', root .. ':retired', task) == 0 then
    index_tasks({ task }) -- An index may have been deleted.
    return tonumber(stored_version)
  end
  if expected ~= stored_version or (stored[1] and expected_slot ~= '' and expected_slot ~= stored[3]) then
    return -1 - stored_version
  end
  if stored[1] and replan == '1' and slot ~= '' and tonumber(slot) <= math.max(now, stored[5] or 0) then
    return -1 - stored_version
  end
  local version = next_version(task)
  -- The definition is written last: until it is written, a repeated request does everything again.
  skip(task, at, tonumber(skips))
  if not stored[1] then
    set_next_slot(task, slot, due, 'born', version)
  elseif replan == '1' then
    set_next_slot(task, slot, due)
  else
    -- A retired task is not in the agenda: put it there again.
    set_next_slot(task, stored[3] or '', stored[4])
  end
  redis.call('HSET', key, 'version', version, 'definition', text)
  redis.call('ZADD', catalogue, version, task)
  redis.call('SREM', root .. ':retired', task)
  changed = true
  return version
end

local at = 4
while at <= #ARGV do
  local task, values, text = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local expected, replan, slot, due, expected_slot, skips =
    string.match(values, '^(%d+),([01]),(%-?%d*),(%-?%d*),(%-?%d*),(%d+)$')
  answers[#answers + 1] = put(task, expected, replan, slot, due, text, expected_slot, skips, at + 3)
  at = at + 3 + 3 * skips
end
if changed then
  notify()
end
return answers
