-- Where runs stand, and how they go from one place to another.
--
-- live:<task> tells where each run stands that is not held, as words: state flag priority entry attempt failures slot
-- kind due losses. Words that are missing at the end are 0, and those that a newer release adds behind them are passed
-- over. The fields of an entry are the same: `losses` stands behind the body, where there are any.
--   state  q: in a stream, claimed if it is pending there.  w: waits, with its kind (retry, pause) and its instant
--   flag   !: claimed, and somebody wants it cancelled: it is not tried again.  -: nobody does
-- Bodies may be large, so they stand where only those come across them who move a run: in the entry of a queued one; in
-- retry:<task> or pause:<task>, by its kind, if it waits; in held:<task>, behind its priority and slot, if it is held.
-- line:<task> has the held ones in their order.

local GROUP = 'workers'
local PRIORITIES = { 'high', 'low' }
local streams = { high = root .. ':runs:high', low = root .. ':runs:low' }
local waiting = root .. ':waiting'

-- Places of an entry's values in what XRANGE and XREADGROUP answer.
local RUN, TASK, SLOT, ATTEMPT, BODY = 2, 4, 6, 8, 12

-- The last bits of a token say which number within its millisecond an entry has: 19 bits, then one for the stream.
local MOST_PER_MILLISECOND = 524288

local open_streams

local function append(priority, ...)
  open_streams()
  local stream = streams[priority]
  local id = redis.call('XADD', stream, '*', ...)
  local dash = string.find(id, '-', 1, true)
  if #id - dash >= 6 and tonumber(string.sub(id, dash + 1)) >= MOST_PER_MILLISECOND then
    -- Only after the server's clock was set back far. The next ids count on from here.
    redis.call('XDEL', stream, id)
    id = redis.call('XADD', stream, string.format('%.0f-0', string.sub(id, 1, dash - 1) + 1), ...)
  end
  return id
end

-- A new entry is a new place in the line and a new fencing token.
local function queue(task, run, priority, slot, attempt, failures, losses, body)
  local fields = { 'run', run, 'task', task, 'slot', slot, 'attempt', attempt, 'failures', failures, 'body', body }
  local words = { 'q', '-', priority, '', attempt, failures, slot, '-', '-' }
  if losses > 0 then
    fields[13], fields[14], words[10] = 'losses', losses, losses
  end
  words[4] = append(priority, unpack(fields))
  redis.call('HSET', root .. ':live:' .. task, run, table.concat(words, ' '))
end

-- The index comes first and goes last: what a script leaves half done, promoting it sweeps.
local function postpone(task, run, priority, id, slot, attempt, failures, losses, body, kind, due)
  redis.call('ZADD', waiting, due, task .. ' ' .. run)
  redis.call('HSET', root .. ':' .. kind .. ':' .. task, run, body)
  redis.call('HSET', root .. ':live:' .. task, run,
    table.concat({ 'w', '-', priority, id, attempt, failures, slot, kind, due, losses > 0 and losses or nil }, ' '))
end

local function stop_waiting(task, run)
  redis.call('HDEL', root .. ':retry:' .. task, run)
  redis.call('HDEL', root .. ':pause:' .. task, run)
  redis.call('ZREM', waiting, task .. ' ' .. run)
end

local function read_place(text)
  local place = {}
  local flag, losses
  place.state, flag, place.priority, place.id, place.attempt, place.failures, place.slot, place.kind, place.due,
    losses = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) ?(%d*)')
  place.cancelling, place.losses = flag == '!', tonumber(losses) or 0
  return place
end

local function place_of(task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  return text and read_place(text)
end

-- A run that is held is in held:<task>. The line comes first, so that no run can be without its place in it.
local function hold(task, run, priority, slot, body)
  local line = root .. ':line:' .. task
  local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
  redis.call('ZADD', line, (last[2] or 0) + 1, table.concat({ run, priority, slot }, ' '))
  redis.call('HSET', root .. ':held:' .. task, run, table.concat({ priority, slot, body }, ' '))
end

local function read_held(text)
  return string.match(text or '', '^(%S+) (%S+) (.*)$') -- priority, slot, body
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
      redis.call('ZADD', line, 'NX', 0, table.concat({ texts[i], priority, slot }, ' '))
    end
  end
  return redis.call('ZRANGE', line, 0, last)
end

-- Let the next held run go. Scripts that stopped half-way leave places in the line without a run, and runs that go
-- already.
local function queue_held(task)
  local following = line_of(task, 0)[1]
  while following do
    local run, priority, slot = string.match(following, '^(%S+) (%S+) (%S+)$')
    local _, _, body = read_held(redis.call('HGET', root .. ':held:' .. task, run))
    body = redis.call('HEXISTS', root .. ':live:' .. task, run) == 0 and body
    if body then
      queue(task, run, priority, slot, 1, 0, 0, body)
    end
    stop_holding(task, run, priority, slot)
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

-- If one of the waiting runs of a task is not in the index by instants, somebody deleted that.
local function mend_waiting(task)
  for _, kind in ipairs({ 'retry', 'pause' }) do
    local bodies = root .. ':' .. kind .. ':' .. task
    local one = redis.call('HRANDFIELD', bodies)
    if one and not redis.call('ZSCORE', waiting, task .. ' ' .. one) then
      for _, run in ipairs(redis.call('HKEYS', bodies)) do
        local place = place_of(task, run)
        redis.call('ZADD', waiting, place and place.state == 'w' and place.due or now, task .. ' ' .. run)
      end
    end
  end
end

-- An entry never changes its owner, so whoever is named in the list of pending entries is the holder of the claim.
local function pending(priority, id)
  open_streams()
  return redis.call('XPENDING', streams[priority], GROUP, id, id, 1)[1]
end

-- The text of a run's place if this claim still holds it, and how long ago its last heartbeat was.
local function held_by(priority, id, worker, task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  local entry = priority .. ' ' .. id .. ' '
  if text and string.sub(text, 1, 1) == 'q' and string.sub(text, 5, 4 + #entry) == entry then
    local claim = pending(priority, id)
    if claim and claim[2] == worker then
      return text, claim[3]
    end
  end
  return nil
end

-- Not what somebody else put into a stream of ours.
local function is_run(fields)
  return fields[RUN - 1] == 'run' and fields[BODY - 1] == 'body'
end

local function entry(priority, id)
  local found = redis.call('XRANGE', streams[priority], id, id)[1]
  return found and found[2]
end

-- The place of the run of this entry, unless the run is elsewhere, or no more, or never was.
local function place_at(priority, id, fields)
  local place = fields and is_run(fields) and place_of(fields[TASK], fields[RUN])
  return place and place.state == 'q' and place.priority == priority and place.id == id and place
end

-- In this order: a claim without an entry is reaped, an entry without a claim would be counted as queued for ever.
local function take(priority, id)
  redis.call('XDEL', streams[priority], id)
  redis.call('XACK', streams[priority], GROUP, id)
end

local function remember(task, line)
  note(root .. ':history:' .. task, keep, line)
end

-- A claim's token as the digits of an integer: Lua's numbers end at 53 bits. Python's `token_of` is the same.
local function token_of(priority, id)
  local ms, number = string.match(id, '^(%d+)%-(%d+)$')
  local low = (ms % 1000000) * 1048576 + number * 2 + (priority == 'low' and 1 or 0)
  local high = math.floor(ms / 1000000) * 1048576 + math.floor(low / 1000000)
  return (string.gsub(string.format('%.0f%06.0f', high, low % 1000000), '^0+(%d)', '%1'))
end

-- A line of history that no worker can write, in the text form of the core's codec.
local function store_line(run, slot, attempt, status, started_at, worker, token)
  local plain = string.gsub(run, '%%(%x%x)', function(digits) return string.char(tonumber(digits, 16)) end)
  return '{"v":1,"run":' .. cjson.encode(plain)
    .. ',"slot":' .. (slot == '-' and 'null' or slot)
    .. ',"attempt":' .. attempt
    .. ',"status":"' .. status
    .. '","started_at":' .. string.format('%.0f', started_at)
    .. ',"duration_us":' .. string.format('%.0f', (now - started_at) * 1000)
    .. ',"worker":' .. cjson.encode(worker)
    .. ',"token":' .. token .. ',"failure":null}'
end

-- The body of a run is gone, so nobody can execute it: it ends, on the record.
local function give_up(task, run, place)
  local token = token_of(place.priority, place.id)
  remember(task, store_line(run, place.slot, place.attempt, 'lost', now, '', token))
  ended(task, run)
end

-- Queue what has waited long enough; the answer is how long the next one waits, -1 for none.
local function promote(limit)
  local following = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if following[2] and tonumber(following[2]) <= now then
    despite_full_memory()
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, limit)) do
      local task, run = string.match(member, '^(%S+) (%S+)$')
      local place = place_of(task, run)
      local waits = place and place.state == 'w'
      local body = waits and redis.call('HGET', root .. ':' .. place.kind .. ':' .. task, run)
      if body then
        queue(task, run, place.priority, place.slot, place.attempt, place.failures, place.losses, body)
      elseif waits then
        give_up(task, run, place)
      end
      stop_waiting(task, run)
    end
    following = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  end
  return following[2] and math.max(0, following[2] - now) or -1
end

-- A stream that is gone took its runs with it.
local function end_runs_of(priority)
  for _, task in ipairs(redis.call('ZRANGE', catalogue, 0, -1)) do
    local live = redis.call('HGETALL', root .. ':live:' .. task)
    for i = 1, #live, 2 do
      local place = read_place(live[i + 1])
      if place.state == 'q' and place.priority == priority then
        give_up(task, live[i], place)
      end
    end
  end
end

local opened = false

-- Called before a script touches a stream: both exist from then on, with their groups.
function open_streams()
  if opened then
    return
  end
  opened = true
  for _, priority in ipairs(PRIORITIES) do
    local stream = streams[priority]
    if redis.pcall('XPENDING', stream, GROUP, '-', '+', 0).err then
      if redis.call('EXISTS', stream) == 0 then
        end_runs_of(priority)
      end
      -- At 0, so that nothing queued before is passed over.
      redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    end
  end
end
