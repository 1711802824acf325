-- Where runs stand, and how they go from one place to another.
--
-- live:<task> tells where each run stands that is not held, as words: state flag token worker priority entry attempt
-- failures losses slot kind due. Words that a newer release adds behind them stay there, whatever becomes of the run.
--   state  q: in a stream, as that entry.  c: claimed by that worker.  w: waits, with its kind (retry, pause) and its
--          instant
--   flag   !: claimed, and somebody wants it cancelled: it is not tried again.  -: nobody does
--   token  the fencing token of its last claim, 0 before the first
-- Bodies may be large, so they stand where only those come across them who move a run: in the entry of a queued one; in
-- claimed:<worker>; in retry:<task> or pause:<task>, by its kind, if it waits; in held:<task>, behind its priority and
-- slot, if it is held. line:<task> has the held ones in their order, `claims` the last heartbeat of each claim.

local PRIORITIES = { 'high', 'low' }
local streams = { high = root .. ':runs:high', low = root .. ':runs:low' }
local waiting, claims, bell = root .. ':waiting', root .. ':claims', root .. ':bell'

-- Places of an entry's values in what XRANGE answers.
local RUN, TASK, BODY = 2, 4, 6

-- Some arguments at a time: Lua's stack is small.
local AT_ONCE = 1000
local function spread(arguments, call)
  for first = 1, #arguments, AT_ONCE do
    call(unpack(arguments, first, math.min(first + AT_ONCE - 1, #arguments)))
  end
end

-- Wake one of the workers that wait. Whoever claims rings again while something is left, so one knock is enough.
local knocked = false
local function knock()
  if not knocked and redis.call('EXISTS', bell) == 0 then
    redis.call('LPUSH', bell, 1)
  end
  knocked = true
end

local function new_place(priority, slot)
  return {
    flag = '-', token = '0', worker = '-', priority = priority, attempt = 1, failures = 0, losses = 0, slot = slot,
    more = '',
  }
end

-- nil for what is no place of ours.
local function read_place(text)
  local place = {}
  place.state, place.flag, place.token, place.worker, place.priority, place.id, place.attempt, place.failures,
    place.losses, place.slot, place.kind, place.due, place.more =
    string.match(text, '^([qcw]) ([-!]) (%d+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%-?%d*) (%S+) (%S+)(.*)$')
  local whole = streams[place.priority or '']
    and (place.state ~= 'q' or string.find(place.id, '^%d+%-%d+$'))
    and (place.state ~= 'w' or integer(place.due))
  return whole and place or nil
end

local function place_of(task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  return text and read_place(text) or nil
end

local function stand(task, run, place)
  redis.call('HSET', root .. ':live:' .. task, run, table.concat({
    place.state, place.flag, place.token, place.worker, place.priority, place.id, place.attempt, place.failures,
    place.losses, place.slot, place.kind, place.due,
  }, ' ') .. place.more)
end

local open_streams

-- A new entry is a new place in the line.
local function queue(task, run, place, body)
  open_streams()
  place.state, place.flag, place.worker, place.kind, place.due = 'q', '-', '-', '-', '-'
  place.id = redis.call('XADD', streams[place.priority], '*', 'run', run, 'task', task, 'body', body)
  stand(task, run, place)
  knock()
end

-- The index comes first and goes last: what a script leaves half done, promoting it sweeps.
local function postpone(task, run, place, body, kind, due)
  redis.call('ZADD', waiting, due, task .. ' ' .. run)
  redis.call('HSET', root .. ':' .. kind .. ':' .. task, run, body)
  place.state, place.flag, place.worker, place.id, place.kind, place.due = 'w', '-', '-', '-', kind, due
  stand(task, run, place)
end

local function stop_waiting(task, run)
  redis.call('HDEL', root .. ':retry:' .. task, run)
  redis.call('HDEL', root .. ':pause:' .. task, run)
  redis.call('ZREM', waiting, task .. ' ' .. run)
end

-- A run that is held is in held:<task>. The line comes first, so that no run can be without its place in it.
local function hold(task, run, priority, slot, body)
  local line = root .. ':line:' .. task
  local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
  redis.call('ZADD', line, (last[2] or 0) + 1, table.concat({ run, priority, slot }, ' '))
  redis.call('HSET', root .. ':held:' .. task, run, table.concat({ priority, slot, body }, ' '))
end

local function read_held(text)
  local priority, slot, body = string.match(text or '', '^(%S+) (%-?%d*) (.*)$')
  if streams[priority or ''] then
    return priority, slot, body
  end
end

local function stop_holding(task, run, priority, slot)
  redis.call('HDEL', root .. ':held:' .. task, run)
  redis.call('ZREM', root .. ':line:' .. task, table.concat({ run, priority, slot }, ' '))
end

-- The held runs in their order, up to the one of this index: run, priority and slot as words. If somebody deleted the
-- line, only the order is lost.
local function line_of(task, last)
  local held, line = root .. ':held:' .. task, root .. ':line:' .. task
  local count = redis.call('HLEN', held)
  if count == 0 then
    return {}
  end
  if redis.call('ZCARD', line) < count then
    local texts = redis.call('HGETALL', held)
    for i = 1, #texts, 2 do
      local priority, slot = read_held(texts[i + 1])
      if priority then
        redis.call('ZADD', line, 'NX', 0, table.concat({ texts[i], priority, slot }, ' '))
      else
        wonder('a held run of ' .. task, 'it cannot be read, and was dropped')
        redis.call('HDEL', held, texts[i])
      end
    end
  end
  return redis.call('ZRANGE', line, 0, last)
end

-- Let the next held run go. Scripts that stopped half-way leave places in the line without a run, and runs that go
-- already.
local function queue_held(task)
  local following = line_of(task, 0)[1]
  while following do
    local run = string.match(following, '^(%S+) %S+ %S+$') or ''
    local priority, slot, body = read_held(redis.call('HGET', root .. ':held:' .. task, run))
    body = redis.call('HEXISTS', root .. ':live:' .. task, run) == 0 and body
    if body then
      queue(task, run, new_place(priority, slot), body)
    end
    redis.call('HDEL', root .. ':held:' .. task, run)
    redis.call('ZREM', root .. ':line:' .. task, following)
    following = not body and line_of(task, 0)[1]
  end
end

-- How many runs of a task live, and how many are held. Held ones that nothing holds up any more go.
local function standing(task)
  local live = redis.call('HLEN', root .. ':live:' .. task)
  local held = redis.call('HLEN', root .. ':held:' .. task)
  if live == 0 and held > 0 then
    queue_held(task)
    return standing(task)
  end
  return live, held
end

-- A run ends: what it held up goes, and then its place.
local function ended(task, run)
  local live = root .. ':live:' .. task
  if redis.call('HLEN', live) <= 1 then
    queue_held(task)
  end
  redis.call('HDEL', live, run)
end

-- If one of the waiting runs of a task is not in the index by instants, somebody deleted that. Some go back into it with
-- each call.
local MENDED_AT_ONCE = 500
local function mend_waiting(task)
  for _, kind in ipairs({ 'retry', 'pause' }) do
    local bodies = root .. ':' .. kind .. ':' .. task
    local one = redis.call('HRANDFIELD', bodies)
    if one and not redis.call('ZSCORE', waiting, task .. ' ' .. one) then
      for _, run in ipairs(redis.call('HRANDFIELD', bodies, MENDED_AT_ONCE)) do
        local place = place_of(task, run)
        redis.call('ZADD', waiting, place and place.state == 'w' and place.due or steady(), task .. ' ' .. run)
      end
    end
  end
end

-- A claim as a member of `claims`; its last two words name its body in claimed:<worker>.
local function claim_on(worker, task, run)
  return table.concat({ worker, task, run }, ' ')
end

-- A heartbeat that somebody deleted is noted again: nobody would ever reap the claim.
local function mend_claim(worker, task, run)
  if not redis.call('ZSCORE', claims, claim_on(worker, task, run)) then
    despite_full_memory()
    redis.call('ZADD', claims, steady(), claim_on(worker, task, run))
  end
end

-- The text of a run's place if this claim still holds it.
local function held_by(worker, token, task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  local mine = token .. ' ' .. worker .. ' '
  if text and string.sub(text, 1, 1) == 'c' and string.sub(text, 5, 4 + #mine) == mine then
    return text
  end
  return nil
end

local function claimed_body(worker, task, run)
  return redis.call('HGET', root .. ':claimed:' .. worker, task .. ' ' .. run)
end

-- A claim is over.
local over = {}
local function stop_claiming(worker, task, run)
  over[worker] = over[worker] or { bodies = {}, beats = {} }
  table.insert(over[worker].bodies, task .. ' ' .. run)
  table.insert(over[worker].beats, claim_on(worker, task, run))
end

-- Called last: each run has its next place by then. Reaping sweeps what a script leaves half done.
local function forget_claims()
  for worker, claim in pairs(over) do
    spread(claim.bodies, function(...) redis.call('HDEL', root .. ':claimed:' .. worker, ...) end)
    spread(claim.beats, function(...) redis.call('ZREM', claims, ...) end)
  end
end

-- Not what somebody else put into a stream of ours.
local function is_run(fields)
  return fields[RUN - 1] == 'run' and fields[TASK - 1] == 'task' and fields[BODY - 1] == 'body'
end

local function remember(task, line)
  note(root .. ':history:' .. task, keep, line)
end

-- A line of history that no worker can write, in the text form of the core's codec. It began at a steady instant.
local function store_line(run, place, status, started_at, worker, token)
  local function plain(text)
    return (string.gsub(text, '%%(%x%x)', function(digits) return string.char(tonumber(digits, 16)) end))
  end
  return '{"v":1,"run":' .. cjson.encode(plain(run))
    .. ',"slot":' .. (place.slot == '-' and 'null' or place.slot)
    .. ',"attempt":' .. place.attempt
    .. ',"status":"' .. status
    .. '","started_at":' .. string.format('%.0f', started_at - set_back)
    .. ',"duration_us":' .. string.format('%.0f', (steady() - started_at) * 1000)
    .. ',"worker":' .. cjson.encode(plain(worker))
    .. ',"token":' .. token .. ',"failure":null}'
end

-- The body of a run is gone, so nobody can execute it: it ends, on the record.
local function give_up(task, run, place)
  remember(task, store_line(run, place, 'lost', steady(), '', '0'))
  ended(task, run)
end

-- Queue what has waited long enough, some of it; the answer is how long the next one waits, -1 for none.
local PROMOTED_AT_ONCE, BYTES_AT_ONCE = 500, 1000000
local function promote()
  local bytes = 0
  local following = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if following[2] and tonumber(following[2]) <= steady() then
    despite_full_memory()
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', steady(), 'LIMIT', 0, PROMOTED_AT_ONCE)) do
      local task, run = string.match(member, '^(%S+) (%S+)$')
      local place = task and place_of(task, run)
      local waits = place and place.state == 'w'
      local body = waits and redis.call('HGET', root .. ':' .. place.kind .. ':' .. task, run)
      if body then
        queue(task, run, place, body)
      elseif waits then
        give_up(task, run, place)
      end
      if task then
        stop_waiting(task, run)
      else
        wonder('the set of waiting runs', member .. ' is none, and was dropped')
        redis.call('ZREM', waiting, member)
      end
      bytes = bytes + #(body or '')
      if bytes >= BYTES_AT_ONCE then
        break
      end
    end
    following = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  end
  return following[2] and math.max(0, following[2] - steady()) or -1
end

-- A stream that is gone took its runs with it. Some end at once; the leader's look finds the others.
local function end_runs_of(priority)
  local met = 0
  for _, task in ipairs(redis.call('ZRANGE', catalogue, 0, MENDED_AT_ONCE - 1)) do
    local cursor = '0'
    repeat
      local page = redis.call('HSCAN', root .. ':live:' .. task, cursor, 'COUNT', 20)
      for i = 1, #page[2], 2 do
        local place = read_place(page[2][i + 1])
        -- One that another run has held up may be queued by now.
        if place and place.state == 'q' and place.priority == priority
          and not redis.call('XRANGE', streams[priority], place.id, place.id)[1] then
          give_up(task, page[2][i], place)
        end
      end
      cursor, met = page[1], met + #page[2] / 2
      if met >= MENDED_AT_ONCE then
        return
      end
    until cursor == '0'
  end
end

-- Called before a script touches a stream: both exist from then on, also while they are empty.
local opened = false
function open_streams()
  if opened then
    return
  end
  opened = true
  if redis.call('EXISTS', streams.high, streams.low) == 2 then
    return
  end
  for _, priority in ipairs(PRIORITIES) do
    local stream = streams[priority]
    if redis.call('EXISTS', stream) == 0 then
      end_runs_of(priority)
    end
    if redis.call('EXISTS', stream) == 0 then -- Else a run was queued that one of those had held up.
      redis.call('XADD', stream, 'MAXLEN', 0, '*', 'opened', now)
    end
  end
end
