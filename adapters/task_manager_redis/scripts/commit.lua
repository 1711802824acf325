-- Needs runs and tasks.
-- ARGV: holder, token, then per decision: task, version, slot, next slot and due (empty without a plan), the last slot
-- that is decided (empty for none), exclusive (0, 1), how many to fire, hold and skip; per run to fire or hold: run,
-- priority, slot, body; per skip: reason, count, text.
-- Answer: nil when fenced, else per decision 1 if it was kept and 0 if it was overtaken.
if not reigns(ARGV[4], ARGV[5]) then
  return false
end

local function room(task, stored, exclusive, fires, holds)
  if (fires > 0 or holds > 0) and stored[3] then
    return false
  end
  if fires > 0 and redis.call('HLEN', root .. ':retry:' .. task) > 0 then
    return false
  end
  if holds == 0 and not (fires > 0 and exclusive) then
    return true
  end
  local live, held = standing(task)
  if fires > 0 and exclusive and live + held > 0 then
    return false
  end
  return holds == 0 or (held == 0 and live + fires > 0)
end

local answers = {}
local at = 6
while at <= #ARGV do
  local task, version, slot, next_slot, next_due, decided, exclusive, fires, holds, skips = unpack(ARGV, at, at + 9)
  fires, holds, skips = tonumber(fires), tonumber(holds), tonumber(skips)
  local runs = at + 10
  local skipped = runs + 4 * (fires + holds)
  at = skipped + 3 * skips

  local stored = redis.call('HMGET', root .. ':task:' .. task, 'version', 'slot', 'paused')
  local kept = stored[1] == version and stored[2] == slot
    and redis.call('SISMEMBER', root .. ':retired', task) == 0
    and room(task, stored, exclusive == '1', fires, holds)
  if kept then
    skip(task, skipped, skips)
    for i = runs, runs + 4 * (fires - 1), 4 do
      queue(task, ARGV[i], new_place(ARGV[i + 1], ARGV[i + 2]), ARGV[i + 3])
    end
    if holds > 0 then
      local i = runs + 4 * fires
      hold(task, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    end
    if decided ~= '' then
      redis.call('HSET', root .. ':task:' .. task, 'decided', decided)
    end
    plan(task, next_slot, next_due)
  end
  answers[#answers + 1] = kept and 1 or 0
end
return answers
