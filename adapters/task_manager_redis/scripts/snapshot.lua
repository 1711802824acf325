-- ARGV: whether the frame is wanted (0, 1), most tasks viewed when all are asked for, whether all are (0, 1), tasks.
-- Answer: frame (empty, or now, holder, token, queued, presences), views, tasks that exist and are not among the views.
-- A view: task, version, slot, due, paused, resumed_at, retired, skips (reason, count, ...), runs.
-- A run: run, state, cancelling, attempt, failures, slot, then worker, or kind and due of a waiting one.
local framed, most, all = ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6] == '1'
if framed then
  promote(500)
end

local function run_of(task, run, text)
  local place = read_place(text)
  local cancelling = place.cancelling and 1 or 0
  local seen = { run, 'waiting', cancelling, place.attempt, place.failures, place.slot, place.kind, place.due }
  if place.state == 'q' then
    local claim = pending(place.priority, place.id)
    seen[2], seen[7], seen[8] = claim and 'running' or 'queued', claim and claim[2] or '', ''
  end
  return seen
end

local function runs_of(task)
  local runs = {}
  local live = redis.call('HGETALL', root .. ':live:' .. task)
  for i = 1, #live, 2 do
    runs[#runs + 1] = run_of(task, live[i], live[i + 1])
  end
  for _, text in ipairs(redis.call('LRANGE', root .. ':held:' .. task, 0, -1)) do
    local _, run, slot = read_held(text)
    runs[#runs + 1] = { run, 'held', 0, 1, 0, slot, '', '' }
  end
  return runs
end

local function view(task)
  local stored = redis.call('HGETALL', root .. ':task:' .. task)
  if #stored == 0 then
    return nil
  end
  local fields, skips = {}, {}
  for i = 1, #stored, 2 do
    fields[stored[i]] = stored[i + 1]
    if string.sub(stored[i], 1, 8) == 'skipped:' then
      skips[#skips + 1] = string.sub(stored[i], 9)
      skips[#skips + 1] = stored[i + 1]
    end
  end
  return {
    task, fields.version, fields.slot or '', fields.due or '', fields.paused or '',
    fields.resumed_at or '', redis.call('SISMEMBER', root .. ':retired', task), skips, runs_of(task),
  }
end

local function frame()
  local term = redis.call('HMGET', reign, 'holder', 'token', 'until')
  if not term[1] or now >= tonumber(term[3]) then
    term = { '', '' }
  end
  local queued = 0
  open_streams()
  for _, priority in ipairs(PRIORITIES) do
    -- Acknowledged entries are deleted in the same step, so what is not pending has not been claimed.
    queued = queued + redis.call('XLEN', streams[priority]) - redis.call('XPENDING', streams[priority], GROUP)[1]
  end
  local presences = {}
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', root .. ':nodes', '(' .. now, '+inf')) do
    presences[#presences + 1] = redis.call('HGET', root .. ':presences', node) or nil
  end
  return { now, term[1], term[2], queued, presences }
end

local views, left = {}, {}
local asked = all and redis.call('ZRANGE', root .. ':catalogue', 0, -1) or { unpack(ARGV, 7) }
for _, task in ipairs(asked) do
  if #views < most then
    views[#views + 1] = view(task)
  else
    left[#left + 1] = task
  end
end
return { framed and frame() or {}, views, left }
