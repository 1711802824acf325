-- Needs tasks.
-- ARGV per definition: task, expected version, replan (0, 1), slot, due (both empty without a plan), text, the slot
-- that must be next (empty: any), how many skips; per skip: reason, count, text.
-- Answer per definition: its version, or -1 - (the version that stands) for a conflict.
local answers, changed = {}, false

local function put(task, expected, replan, slot, due, text, given_up, skips, at)
  local key = root .. ':task:' .. task
  local stored = redis.call('HMGET', key, 'version', 'definition', 'slot', 'due', 'decided')
  if not integer(stored[1]) then
    stored = {} -- Without a version it is no task, whatever else somebody left of it.
  end
  local found = stored[1] or '0'
  if stored[2] == text and redis.call('SISMEMBER', root .. ':retired', task) == 0 then
    index({ task }) -- Somebody may have deleted an index.
    return tonumber(found)
  end
  if expected ~= found or (stored[1] and given_up ~= '' and given_up ~= stored[3]) then
    return -1 - found
  end
  if stored[1] and replan == '1' and slot ~= '' and tonumber(slot) <= math.max(now, stored[5] or 0) then
    return -1 - found
  end
  local version = next_version(task)
  -- The definition comes last: until it stands, a repetition does everything again.
  skip(task, at, tonumber(skips))
  if replan == '1' or not stored[1] then
    plan(task, slot, due)
  else
    -- A retired task had left the agenda.
    plan(task, stored[3] or '', stored[4])
  end
  if not stored[1] then
    redis.call('HSET', key, 'born', version)
  end
  redis.call('HSET', key, 'version', version, 'definition', text)
  redis.call('ZADD', catalogue, version, task)
  redis.call('SREM', root .. ':retired', task)
  changed = true
  return version
end

local at = 4
while at <= #ARGV do
  local task, expected, replan, slot, due, text, given_up, skips = unpack(ARGV, at, at + 7)
  answers[#answers + 1] = put(task, expected, replan, slot, due, text, given_up, skips, at + 8)
  at = at + 8 + 3 * skips
end
if changed then
  ring()
end
return answers
