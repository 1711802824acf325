-- The run entries of removed tasks. The hash trash:<version> holds the entries of one task. The sorted set `trash` has
-- a member for each such hash (version and task); its score is the cursor of the sweep.
local trash = root .. ':trash'

-- Remove a task with all that belongs to it. This renames the hash of its run entries. Without its run entry, each claim and
-- each stream item of the task is void at once. sweep.lua deletes these claims and items later, step by step.
local function remove_task(task)
  allow_oom()
  local version = string.format('%.0f', next_version(task))
  if redis.call('EXISTS', root .. ':live:' .. task) == 1 then
    -- The member is added first. If the script stops here, a sweep finds no hash and deletes the member.
    redis.call('ZADD', trash, 0, version .. ' ' .. task)
    redis.call('RENAME', root .. ':live:' .. task, trash .. ':' .. version)
  end
  for _, kind in ipairs({ 'retry', 'pause', 'delay', 'held', 'line', 'attempts', 'skipped', 'memory', 'task' }) do
    redis.call('UNLINK', root .. ':' .. kind .. ':' .. task)
  end
  redis.call('SREM', root .. ':retired', task)
  redis.call('ZREM', agenda, task)
  redis.call('ZREM', catalogue, task)
end

-- Sweep about `size` run entries: delete the stream items, waits and claims of these runs. The answer: whether entries
-- may be left. A task that was added again may have runs with the same names; the sweep leaves what belongs to these.
-- HSCAN may return an entry twice (https://redis.io/docs/latest/commands/scan/): to delete it again changes nothing.
local function sweep(size)
  local first = redis.call('ZRANGE', trash, 0, 0, 'WITHSCORES')
  if not first[1] then
    return false
  end
  allow_oom()
  local version, task = string.match(first[1], '^(%S+) (%S+)$')
  local entries = trash .. ':' .. (version or '')
  local found = redis.call('HSCAN', entries, first[2], 'COUNT', size)
  local live = task and redis.call('EXISTS', root .. ':live:' .. task) == 1
  local ids, waits, runs = {}, {}, {}
  for i = 1, #found[2], 2 do
    local run, entry = found[2][i], parse_entry(found[2][i + 1]) or {}
    local added_again = live and redis.call('HEXISTS', root .. ':live:' .. task, run) == 1
    runs[#runs + 1] = run
    if entry.state == 'q' then
      ids[entry.lane] = ids[entry.lane] or {}
      table.insert(ids[entry.lane], entry.stream_id)
    elseif entry.state == 'w' and not added_again then
      table.insert(waits, task .. ' ' .. run)
    elseif entry.state == 'c' and not added_again then
      drop_claim(entry.worker, task, run)
    end
  end
  for lane, own in pairs(ids) do
    spread(own, function(...) redis.call('XDEL', streams[lane], ...) end)
  end
  spread(waits, function(...) redis.call('ZREM', waiting, ...) end)
  delete_dropped_claims()
  spread(runs, function(...) redis.call('HDEL', entries, ...) end)
  if found[1] == '0' then
    redis.call('UNLINK', entries)
    redis.call('ZREM', trash, first[1])
  else
    redis.call('ZADD', trash, found[1], first[1])
  end
  return redis.call('EXISTS', trash) == 1
end
