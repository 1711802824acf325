-- Needs runs and tasks.
-- ARGV: holder, token, the version of the task where the last look ended, the place among its runs where it ended (0:
-- behind them), most tasks, most runs, most bytes of bodies.
-- Answer: nil when fenced, else the version and the place where this look ended (0 and 0: behind the last task), and what
-- is strange.
--
-- A look at the runs that nothing else will ever meet, because somebody deleted what leads to them. It goes through all
-- tasks, some with each step.
if not reigns(ARGV[4], ARGV[5]) then
  return false
end
local version, at = ARGV[6], ARGV[7]
local most_tasks, most_runs, most_bytes = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local runs, bytes = 0, 0

local function mend(task, run, text)
  local place, where = read_place(text), 'run ' .. run .. ' of ' .. task
  runs = runs + 1
  if not place then
    despite_full_memory()
    wonder(where, 'its place cannot be read: it ends as lost')
    give_up(task, run, new_place('low', '-'))
  elseif place.state == 'c' then
    mend_claim(place.worker, task, run)
  elseif place.state == 'q' then
    local entry = redis.call('XRANGE', streams[place.priority], place.id, place.id)[1]
    bytes = bytes + (entry and #(entry[2][BODY] or '') or 0)
    if not entry then
      despite_full_memory()
      wonder(where, 'its entry in the stream is gone: it ends as lost')
      give_up(task, run, place)
    end
  elseif not redis.call('ZSCORE', waiting, task .. ' ' .. run) then
    despite_full_memory()
    redis.call('ZADD', waiting, place.due, task .. ' ' .. run) -- If its body is gone, promoting it ends it.
  end
end

open_streams()
local tasks = redis.call('ZRANGEBYSCORE', catalogue, (at == '0' and '(' or '') .. version, '+inf', 'WITHSCORES',
  'LIMIT', 0, most_tasks)

-- Most tasks have no runs: one command asks about some of them.
local TOGETHER = 25
local function have_runs(first, last)
  local keys = {}
  for i = first, last, 2 do
    keys[#keys + 1], keys[#keys + 2] = root .. ':live:' .. tasks[i], root .. ':held:' .. tasks[i]
  end
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- The answer: whether the look ends here.
local function look_at(task)
  repeat
    local page = redis.call('HSCAN', root .. ':live:' .. task, at, 'COUNT', 20)
    at = page[1]
    for j = 1, #page[2], 2 do
      mend(task, page[2][j], page[2][j + 1])
    end
    if runs >= most_runs or bytes >= most_bytes then
      return true
    end
  until at == '0'
  if redis.call('HLEN', root .. ':held:' .. task) > 0 then
    despite_full_memory()
    standing(task)
  end
  return false
end

for first = 1, #tasks, 2 * TOGETHER do
  local last = math.min(first + 2 * TOGETHER, #tasks + 1) - 2
  if have_runs(first, last) then
    for i = first, last, 2 do
      version = tasks[i + 1]
      if look_at(tasks[i]) then
        return { version, at, strange }
      end
    end
  end
  version, at = tasks[last + 1], '0'
end
return { #tasks == 2 * most_tasks and version or '0', '0', strange }
