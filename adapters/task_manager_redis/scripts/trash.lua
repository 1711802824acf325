-- The places of the runs of tasks that were removed: trash:<version>, named in `trash` by version and task, behind the
-- cursor of the sweep.
local trash = root .. ':trash'

-- Sweep about so many places; the answer says whether something may be left. A task that was added again may have runs
-- of the same names, which keep what is theirs.
local function sweep(size)
  local noted = redis.call('ZRANGE', trash, 0, 0, 'WITHSCORES')
  if not noted[1] then
    return false
  end
  despite_full_memory()
  local version, task = string.match(noted[1], '^(%S+) (%S+)$')
  local places = trash .. ':' .. (version or '')
  local found = redis.call('HSCAN', places, noted[2], 'COUNT', size)
  local live = task and redis.call('EXISTS', root .. ':live:' .. task) == 1
  local ids, waits, runs = { high = {}, low = {} }, {}, {}
  for i = 1, #found[2], 2 do
    local run, place = found[2][i], read_place(found[2][i + 1]) or {}
    local again = live and redis.call('HEXISTS', root .. ':live:' .. task, run) == 1
    runs[#runs + 1] = run
    if place.state == 'q' then
      table.insert(ids[place.priority], place.id)
    elseif place.state == 'w' and not again then
      table.insert(waits, task .. ' ' .. run)
    elseif place.state == 'c' and not again then
      stop_claiming(place.worker, task, run)
    end
  end
  for _, priority in ipairs(PRIORITIES) do
    spread(ids[priority], function(...) redis.call('XDEL', streams[priority], ...) end)
  end
  spread(waits, function(...) redis.call('ZREM', waiting, ...) end)
  forget_claims()
  spread(runs, function(...) redis.call('HDEL', places, ...) end)
  if found[1] == '0' then
    redis.call('UNLINK', places)
    redis.call('ZREM', trash, noted[1])
  else
    redis.call('ZADD', trash, found[1], noted[1])
  end
  return redis.call('EXISTS', trash) == 1
end
