-- Needs runs and tasks.
-- ARGV: how long the store remembers the request, the delay of the runs (0: none), a digest of what the request asks for,
-- whether to compare only (0, 1), then for each run: run, task, lane, slot, limit of live runs (0: none), body.
-- Answer: the runs whose remembered request asked for something else; if there are none, for each run a value of the
-- enumeration Enqueued.
local memory_ttl, delay, asked, compared_only = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1'
local FIRST, PER_RUN = 8, 6

-- requested:<run> holds three words: until when the request is remembered, the version with which its task was added,
-- and the digest. A task that was removed and added again has another such version, so a removal need not delete the
-- remembered requests. The instant decides whether a request is remembered; the key's time to live only frees memory.
local function remembered_request(run, born)
  local text = redis.call('GET', root .. ':requested:' .. run)
  local ends, known_born, known = string.match(text or '', '^(%d+) (%S+) (%S*)$')
  return ends and tonumber(ends) > steady() and known_born == born and known
end

local function is_live(live, held, run)
  return redis.call('HEXISTS', live, run) == 1 or redis.call('HEXISTS', held, run) == 1
end

local function is_full(task, limit)
  local live_count, held_count = count_runs(task)
  return held_count > 0 or live_count >= limit
end

local function enqueue(run, task, lane, slot, limit, body, born, remembered)
  if not born then
    return 'unknown_task'
  end
  local live, held = root .. ':live:' .. task, root .. ':held:' .. task
  if remembered or is_live(live, held, run) then
    return 'duplicate'
  end
  local holding = limit > 0 and is_full(task, limit)
  if holding then
    hold(task, run, lane, slot, body)
  elseif delay > 0 then
    postpone(task, run, new_entry(lane, slot), body, 'delay', steady() + delay)
  else
    queue_new(task, run, lane, slot, body)
  end
  -- The request is remembered last: a run must not count as requested before it is queued.
  local text = string.format('%.0f', steady() + memory_ttl) .. ' ' .. born .. ' ' .. asked
  redis.call('SET', root .. ':requested:' .. run, text, 'PX', memory_ttl)
  return holding and 'held' or delay > 0 and 'waiting' or 'queued'
end

local answers, conflicts, births, remembered = {}, {}, {}, {}
for i = FIRST, #ARGV, PER_RUN do
  local stored = redis.call('HMGET', root .. ':task:' .. ARGV[i + 1], 'version', 'born')
  births[i] = stored[1] and (stored[2] or '-')
  remembered[i] = remembered_request(ARGV[i], stored[2] or '-')
  if remembered[i] and remembered[i] ~= asked then
    conflicts[#conflicts + 1] = ARGV[i]
  end
end
if #conflicts == 0 and not compared_only then
  for i = FIRST, #ARGV, PER_RUN do
    local run, task, lane, slot, limit, body = unpack(ARGV, i, i + PER_RUN - 1)
    answers[#answers + 1] = enqueue(run, task, lane, slot, tonumber(limit), body, births[i], remembered[i])
  end
end
return { conflicts, answers }
