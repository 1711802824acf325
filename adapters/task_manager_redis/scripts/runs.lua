-- The states of a run, and its moves from one state to another.
--
-- The hash live:<task> holds one run entry for each live run that is not held. A run entry is a text of words:
-- state flag token worker lane stream_id attempt failures losses slot kind due
--   state  q: queued. The run is the item `stream_id` of the stream of its lane.
--          c: claimed by `worker`.
--          w: waiting, until the instant `due`. Its kind is `retry`, `pause` or `delay`.
--   flag   !: claimed, and its cancellation was requested: the run is not tried again.
--          -: no cancellation was requested.
--   token  the fencing token of the last claim; 0 before the first claim.
--   lane   the priority and the queue of the run: `high:mail`. The lanes of the default queue are `high` and `low`. A
--          queued run may be set aside in a lane of its task alone, `high:mail@group/name`: a worker that excludes the
--          task has moved it there, so that it does not meet it again.
-- A newer release may add words at the end. They stay there, whatever happens to the run.
--
-- The body of a run (its text) may be large. It is stored where only a move of the run reads it:
--   queued    in the stream item
--   claimed   in claimed:<worker>
--   waiting   in retry:<task>, pause:<task> or delay:<task>, by its kind
--   held      in held:<task>, after its lane and its slot
-- The set line:<task> keeps the order of the held runs. The set `claims` keeps the last heartbeat of each claim.
-- The set `lanes` names the lanes of the other queues, and the set `aside` those of single tasks. A worker that empties
-- such a lane deletes it.

local PRIORITIES = { 'high', 'low' }
local streams = setmetatable({}, { __index = function(_, lane) return root .. ':runs:' .. lane end })
local waiting, claims, wake_list = root .. ':waiting', root .. ':claims', root .. ':bell'
local lanes, aside = root .. ':lanes', root .. ':aside'

-- The parts of a lane: its priority (nil if the text is no lane), its queue (empty: the default queue), and the task
-- that is set aside (empty: none).
local function parse_lane(text)
  local priority, colon, queue, at, task = string.match(text or '', '^(%l+)(:?)([^:@]*)(@?)([^:@]*)$')
  local whole = (priority == 'high' or priority == 'low') and (colon == ':') == (queue ~= '') and (at == '@') == (task ~= '')
  return whole and priority or nil, queue, task
end

-- Name a lane in its index, before it gets its first run.
local indexed_lanes = { high = true, low = true }
local function index_lane(lane)
  if not indexed_lanes[lane] then
    indexed_lanes[lane] = true
    redis.call('SADD', string.find(lane, '@', 1, true) and aside or lanes, lane)
    steady()
    if not other_lanes then
      other_lanes = '1'
      redis.call('HSET', root .. ':clock', 'lanes', other_lanes)
    end
  end
end

-- Delete a lane that is empty, and its name.
local function delete_lane(lane)
  redis.call('UNLINK', streams[lane])
  redis.call('SREM', string.find(lane, '@', 1, true) and aside or lanes, lane)
  if redis.call('EXISTS', lanes, aside) == 0 then
    redis.call('HDEL', root .. ':clock', 'lanes')
    other_lanes = false
  end
end

-- The lanes of the other queues, and some of those of single tasks, chosen at random: at most so many as asked for.
local function more_lanes(most_aside)
  if not set_back then
    other_lanes = redis.call('HGET', root .. ':clock', 'lanes') -- A claim that finds nothing needs no time.
  end
  if not other_lanes then
    return {}, {}
  end
  return redis.call('SMEMBERS', lanes), redis.call('SRANDMEMBER', aside, most_aside)
end

-- The indexes of an item's values in the answer of XRANGE.
local RUN, TASK, BODY = 2, 4, 6

-- Give many arguments to a command, some at a time: Lua's stack has about 8,000 places, and the arguments of a command
-- stand on it (https://github.com/redis/redis/pull/9808).
local AT_ONCE = 1000
local function spread(arguments, command)
  for first = 1, #arguments, AT_ONCE do
    command(unpack(arguments, first, math.min(first + AT_ONCE - 1, #arguments)))
  end
end

-- Wake one of the workers that wait for a run of this lane. One element is enough: a worker that claims wakes the next
-- one if a run is left. BLPOP gives an element to one client, the one that has waited longest
-- (https://redis.io/docs/latest/commands/blpop/).
--   bell            wakes a worker that serves every queue
--   bell:<queue>    wakes a worker that names the queues that it serves
--   bell:@          wakes a worker of either kind for a run that is set aside: most of them cannot execute it, and those
--                   that have found so do not wait for this one for some time
local woken = {}
local function bell_of(queue)
  return wake_list .. ':' .. (queue == '' and 'default' or queue)
end

local function wake_worker(lane)
  if woken[lane] then
    return
  end
  woken[lane] = true
  local _, queue, task = parse_lane(lane)
  local bells = task ~= '' and { wake_list .. ':@' } or { wake_list, bell_of(queue) }
  if redis.call('EXISTS', unpack(bells)) < #bells then
    for _, bell in ipairs(bells) do
      if redis.call('EXISTS', bell) == 0 then
        redis.call('LPUSH', bell, 1)
      end
    end
  end
end

local function new_entry(lane, slot)
  return {
    flag = '-', token = '0', worker = '-', lane = lane, attempt = 1, failures = 0, losses = 0, slot = slot,
    more = '',
  }
end

-- The run entry of a text; nil if the text is none.
local function parse_entry(text)
  local entry = {}
  entry.state, entry.flag, entry.token, entry.worker, entry.lane, entry.stream_id, entry.attempt, entry.failures,
    entry.losses, entry.slot, entry.kind, entry.due, entry.more =
    string.match(text, '^([qcw]) ([-!]) (%d+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%-?%d*) (%S+) (%S+)(.*)$')
  local whole = (indexed_lanes[entry.lane or ''] or parse_lane(entry.lane))
    and (entry.state ~= 'q' or string.find(entry.stream_id, '^%d+%-%d+$'))
    and (entry.state ~= 'w' or integer(entry.due))
  return whole and entry or nil
end

local function entry_of(task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  return text and parse_entry(text) or nil
end

local function save_entry(task, run, entry)
  redis.call('HSET', root .. ':live:' .. task, run,
    entry.state .. ' ' .. entry.flag .. ' ' .. entry.token .. ' ' .. entry.worker .. ' ' .. entry.lane .. ' '
    .. entry.stream_id .. ' ' .. entry.attempt .. ' ' .. entry.failures .. ' ' .. entry.losses .. ' ' .. entry.slot .. ' '
    .. entry.kind .. ' ' .. entry.due .. entry.more)
end

local create_streams

-- Queue a run at the end of its lane.
local function queue(task, run, entry, body)
  create_streams()
  index_lane(entry.lane)
  entry.state, entry.flag, entry.worker, entry.kind, entry.due = 'q', '-', '-', '-', '-'
  entry.stream_id = redis.call('XADD', streams[entry.lane], '*', 'run', run, 'task', task, 'body', body)
  save_entry(task, run, entry)
  wake_worker(entry.lane)
end

-- Queue a run for the first time. The same as `queue` for a new entry, in fewer steps: a burst makes many new runs.
local function queue_new(task, run, lane, slot, body)
  create_streams()
  index_lane(lane)
  local id = redis.call('XADD', streams[lane], '*', 'run', run, 'task', task, 'body', body)
  redis.call('HSET', root .. ':live:' .. task, run, 'q - 0 - ' .. lane .. ' ' .. id .. ' 1 0 0 ' .. slot .. ' - -')
  wake_worker(lane)
end

-- Let a run wait. The index is written first and deleted last: if a script stops half-way, promote_due removes the
-- rest.
local function postpone(task, run, entry, body, kind, due)
  redis.call('ZADD', waiting, due, task .. ' ' .. run)
  redis.call('HSET', root .. ':' .. kind .. ':' .. task, run, body)
  entry.state, entry.flag, entry.worker, entry.stream_id, entry.kind, entry.due = 'w', '-', '-', '-', kind, due
  save_entry(task, run, entry)
end

local function stop_waiting(task, run)
  redis.call('HDEL', root .. ':retry:' .. task, run)
  redis.call('HDEL', root .. ':pause:' .. task, run)
  redis.call('HDEL', root .. ':delay:' .. task, run)
  redis.call('ZREM', waiting, task .. ' ' .. run)
end

-- The tasks that have no held run, as far as this script knows. A script that ends many runs of a task asks once.
local none_held = {}

-- Hold a run behind the other runs of its task. The order is written first, so that no held run can be without a place
-- in the order.
local function hold(task, run, lane, slot, body)
  none_held[task] = nil
  local line = root .. ':line:' .. task
  local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
  redis.call('ZADD', line, (last[2] or 0) + 1, table.concat({ run, lane, slot }, ' '))
  redis.call('HSET', root .. ':held:' .. task, run, table.concat({ lane, slot, body }, ' '))
end

local function parse_held(text)
  local lane, slot, body = string.match(text or '', '^(%S+) (%-?%d*) (.*)$')
  if parse_lane(lane) then
    return lane, slot, body
  end
end

local function remove_held(task, run, lane, slot)
  redis.call('HDEL', root .. ':held:' .. task, run)
  redis.call('ZREM', root .. ':line:' .. task, table.concat({ run, lane, slot }, ' '))
end

-- The held runs in their order, up to the index `last`; each is a text of run, lane and slot. If the key of the
-- order was deleted, it is built again and only the order is lost.
local function held_in_order(task, last)
  local held, line = root .. ':held:' .. task, root .. ':line:' .. task
  local count = redis.call('HLEN', held)
  if count == 0 then
    none_held[task] = true
    return {}
  end
  if redis.call('ZCARD', line) < count then
    local texts = redis.call('HGETALL', held)
    for i = 1, #texts, 2 do
      local lane, slot = parse_held(texts[i + 1])
      if lane then
        redis.call('ZADD', line, 'NX', 0, table.concat({ texts[i], lane, slot }, ' '))
      else
        report('a held run of ' .. task, 'it cannot be read, and was deleted')
        redis.call('HDEL', held, texts[i])
      end
    end
  end
  return redis.call('ZRANGE', line, 0, last)
end

-- The limit of live runs of a held run, which its body names unless the run is exclusive. The member stands before the
-- id. Inside a text of JSON the quotes are escaped.
local function live_limit(body)
  local common = string.match(body, '^(.-),"id":') or body
  return tonumber(string.match(common, ',"max_instances":(%d+)') or 1)
end

-- Queue the next held run if its limit allows it beside so many other live runs. A script that stopped half-way may have
-- left a place in the order without a run, or a held run that is queued already: both are removed.
local function queue_next_held(task, others)
  local next_wait = held_in_order(task, 0)[1]
  while next_wait do
    local run = string.match(next_wait, '^(%S+) %S+ %S+$') or ''
    local lane, slot, body = parse_held(redis.call('HGET', root .. ':held:' .. task, run))
    body = redis.call('HEXISTS', root .. ':live:' .. task, run) == 0 and body
    if body and others > 0 and others >= live_limit(body) then
      return
    end
    if body then
      queue(task, run, new_entry(lane, slot), body)
    end
    redis.call('HDEL', root .. ':held:' .. task, run)
    redis.call('ZREM', root .. ':line:' .. task, next_wait)
    next_wait = not body and held_in_order(task, 0)[1]
  end
end

-- Count the live runs and the held runs of a task. If no live run is left, the next held run is queued first. A caller
-- that has counted the live runs passes their number.
local function count_runs(task, live)
  live = live or redis.call('HLEN', root .. ':live:' .. task)
  local held = redis.call('HLEN', root .. ':held:' .. task)
  if live == 0 and held > 0 then
    queue_next_held(task, 0)
    return count_runs(task)
  end
  return live, held
end

-- End a run: queue the run that was held behind it, and then delete its entry.
local function end_run(task, run)
  local live = root .. ':live:' .. task
  if not none_held[task] then
    queue_next_held(task, redis.call('HLEN', live) - 1)
  end
  redis.call('HDEL', live, run)
end

-- Add the waiting runs of a task to the index `waiting` again, if the index was deleted. One random run of each kind
-- shows whether it was. A call adds some of the runs.
local REPAIRED_AT_ONCE = 500
local function repair_waiting(task)
  for _, kind in ipairs({ 'retry', 'pause', 'delay' }) do
    local bodies = root .. ':' .. kind .. ':' .. task
    local one = redis.call('HRANDFIELD', bodies)
    if one and not redis.call('ZSCORE', waiting, task .. ' ' .. one) then
      for _, run in ipairs(redis.call('HRANDFIELD', bodies, REPAIRED_AT_ONCE)) do
        local entry = entry_of(task, run)
        redis.call('ZADD', waiting, entry and entry.state == 'w' and entry.due or steady(), task .. ' ' .. run)
      end
    end
  end
end

-- A claim as a member of the set `claims`. Its last two words are the field of its body in claimed:<worker>.
local function claim_member(worker, task, run)
  return worker .. ' ' .. task .. ' ' .. run
end

-- Write the heartbeat of a claim again if it was deleted. Without a heartbeat the leader would never reap the claim.
local function repair_claim(worker, task, run)
  if not redis.call('ZSCORE', claims, claim_member(worker, task, run)) then
    allow_oom()
    redis.call('ZADD', claims, steady(), claim_member(worker, task, run))
  end
end

-- The text of a run's entry if this claim still owns the run.
local CLAIMED = string.byte('c')
local function text_of_claim(worker, token, task, run)
  local text = redis.call('HGET', root .. ':live:' .. task, run)
  if text and string.byte(text) == CLAIMED and string.find(text, token .. ' ' .. worker .. ' ', 5, true) == 5 then
    return text
  end
  return nil
end

local function claimed_body(worker, task, run)
  return redis.call('HGET', root .. ':claimed:' .. worker, task .. ' ' .. run)
end

-- Remember that a claim has ended. delete_dropped_claims deletes what belongs to it.
local dropped = {}
local function drop_claim(worker, task, run)
  local own, name = dropped[worker], task .. ' ' .. run
  if not own then
    own = { bodies = {}, heartbeats = {} }
    dropped[worker] = own
  end
  own.bodies[#own.bodies + 1] = name
  own.heartbeats[#own.heartbeats + 1] = worker .. ' ' .. name
end

-- A script calls this last, when each run has its next state. If a script stops half-way, reaping removes the rest.
local function delete_dropped_claims()
  for worker, claim in pairs(dropped) do
    spread(claim.bodies, function(...) redis.call('HDEL', root .. ':claimed:' .. worker, ...) end)
    spread(claim.heartbeats, function(...) redis.call('ZREM', claims, ...) end)
  end
end

-- Whether an item of a stream is a run of ours. Another program may have added other items.
local function is_run_item(fields)
  return fields[RUN - 1] == 'run' and fields[TASK - 1] == 'task' and fields[BODY - 1] == 'body'
end

local function append_history(task, line)
  append_line(root .. ':attempts:' .. task, history_kept, line)
end

-- A line of history that the store writes itself, because no worker can: in the text form of the core's codec.
-- `started_at` is a steady instant.
local function history_line(run, entry, status, started_at, worker, token)
  local function plain(text)
    return (string.gsub(text, '%%(%x%x)', function(digits) return string.char(tonumber(digits, 16)) end))
  end
  return table.concat({
    '[1', cjson.encode(plain(run)), entry.slot == '-' and 'null' or entry.slot, entry.attempt, '"' .. status .. '"',
    string.format('%.0f', started_at - set_back), string.format('%.0f', (steady() - started_at) * 1000),
    cjson.encode(plain(worker)), token .. ']',
  }, ',')
end

-- End a run whose body is gone. No worker can execute it, so its history gets a line with the status `lost`.
local function end_as_lost(task, run, entry)
  append_history(task, history_line(run, entry, 'lost', steady(), '', '0'))
  end_run(task, run)
end

-- Queue runs whose wait is over, up to a limit. The answer: the milliseconds until the next run is due; -1 if none
-- waits.
local PROMOTED_AT_ONCE, BYTES_AT_ONCE = 500, 1000000
local function promote_due()
  local bytes = 0
  local next_wait = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if next_wait[2] and tonumber(next_wait[2]) <= steady() then
    allow_oom()
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', steady(), 'LIMIT', 0, PROMOTED_AT_ONCE)) do
      local task, run = string.match(member, '^(%S+) (%S+)$')
      local entry = task and entry_of(task, run)
      local waits = entry and entry.state == 'w'
      local body = waits and redis.call('HGET', root .. ':' .. entry.kind .. ':' .. task, run)
      if body then
        queue(task, run, entry, body)
      elseif waits then
        end_as_lost(task, run, entry)
      end
      if task then
        stop_waiting(task, run)
      else
        report('the set of waiting runs', member .. ' is no run, and was deleted')
        redis.call('ZREM', waiting, member)
      end
      bytes = bytes + #(body or '')
      if bytes >= BYTES_AT_ONCE then
        break
      end
    end
    next_wait = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  end
  return next_wait[2] and math.max(0, next_wait[2] - steady()) or -1
end

-- All lanes that may have runs. Of the lanes of single tasks the caller gets as many as it asks for, chosen at random.
local function some_lanes(most_aside)
  local found, others, single = { 'high', 'low' }, more_lanes(most_aside)
  for _, more in ipairs({ others, single }) do
    for _, lane in ipairs(more) do
      found[#found + 1] = lane
    end
  end
  return found
end

-- Wake a worker for each lane that has runs.
local function wake_for_queued()
  for _, lane in ipairs(some_lanes(1)) do
    if redis.call('XLEN', streams[lane]) > 0 then
      allow_oom()
      wake_worker(lane)
    end
  end
end

-- End runs of a stream that was deleted, because their bodies were deleted with it. This ends some of them; the leader
-- ends the others (repair.lua).
local function end_runs_of_stream(lane)
  local seen = 0
  for _, task in ipairs(redis.call('ZRANGE', catalogue, 0, REPAIRED_AT_ONCE - 1)) do
    local cursor = '0'
    repeat
      local page = redis.call('HSCAN', root .. ':live:' .. task, cursor, 'COUNT', 20)
      for i = 1, #page[2], 2 do
        local entry = parse_entry(page[2][i + 1])
        -- A run that was held behind an ended run may be queued in the new stream by now.
        if entry and entry.state == 'q' and entry.lane == lane
          and not redis.call('XRANGE', streams[lane], entry.stream_id, entry.stream_id)[1] then
          end_as_lost(task, page[2][i], entry)
        end
      end
      cursor, seen = page[1], seen + #page[2] / 2
      if seen >= REPAIRED_AT_ONCE then
        return
      end
    until cursor == '0'
  end
end

-- Create the streams of the default queue. A script calls this before it uses a stream. From then on both exist, also
-- while they are empty.
local streams_exist = false
function create_streams()
  if streams_exist then
    return
  end
  streams_exist = true
  if redis.call('EXISTS', streams.high, streams.low) == 2 then
    return
  end
  for _, priority in ipairs(PRIORITIES) do
    local stream = streams[priority]
    if redis.call('EXISTS', stream) == 0 then
      end_runs_of_stream(priority)
    end
    if redis.call('EXISTS', stream) == 0 then -- It may exist by now: end_run queues held runs.
      redis.call('XADD', stream, 'MAXLEN', 0, '*', 'opened', now)
    end
  end
end
