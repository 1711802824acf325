-- Needs runs.
-- ARGV: worker, limit, whether the tokens of the worker's known claims follow (0, 1), most bytes of bodies, the number
-- of queues that the worker serves (-1: every queue), the number of tasks that it excludes, these queues (empty: the
-- default queue), these tasks, these tokens.
-- Answer: milliseconds until the next waiting run is due (-1: none waits), the claims, anomalies, whether the byte
-- limit left out claims that the worker does not know (0, 1), whether runs are set aside that the worker cannot claim
-- (0, 1).
-- The claims are one flat list. For each claim: counts, task, run, body. The counts are words: token, attempt, failures,
-- losses, and more that no reader needs.
--
-- The claim gives the fencing token; the queue does not. A failover may lose the claim and keep the stream item. The
-- run is then claimed again, later by the server's time, and so with a greater token.
--
-- The worker reads several lanes in the order of their ids, which are the instants at which the runs were queued. It
-- moves each run of a task that it excludes to the lane of that task, under the same id, so that later claims do not
-- meet the run again. A worker that can execute the run reads that lane, too.
local MOST_VOID, READ_AT_ONCE = 1000, 50 -- Void items are those of runs that are not queued. Both limit one script.
local READ_OF_EACH = 10 -- From each of several lanes.
local MOST_ASIDE = 100 -- Lanes of single tasks that one claim looks at.

local worker, limit, most_bytes = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local served_queues, excluded_tasks = tonumber(ARGV[8]), tonumber(ARGV[9])
local bodies = root .. ':claimed:' .. worker
local given, bytes, left_out = {}, 0, false
allow_oom()
create_streams()

local serves_all, serves, excludes = served_queues < 0, {}, {}
local FIRST_TASK = 10 + math.max(served_queues, 0)
local FIRST_TOKEN = FIRST_TASK + excluded_tasks
for i = 10, FIRST_TASK - 1 do
  serves[ARGV[i]] = true
end
for i = FIRST_TASK, FIRST_TOKEN - 1 do
  excludes[ARGV[i]] = true
end

local function add(counts, task, run, body)
  local n = #given
  given[n + 1], given[n + 2], given[n + 3], given[n + 4] = counts, task, run, body
  bytes = bytes + #body
end

local function return_unknown_claims()
  local known = {}
  for i = FIRST_TOKEN, #ARGV do
    known[ARGV[i]] = true
  end
  for _, name in ipairs(redis.call('HKEYS', bodies)) do
    local task, run = string.match(name, '^(%S+) (%S+)$')
    local entry = task and entry_of(task, run)
    if not entry or entry.state ~= 'c' or entry.worker ~= worker then
      redis.call('HDEL', bodies, name) -- A script that stopped half-way left it.
    elseif #given < 4 * limit and not known[entry.token] then
      if bytes >= most_bytes then
        left_out = true
        break
      end
      local counts = table.concat({ entry.token, entry.attempt, entry.failures, entry.losses }, ' ')
      add(counts, task, run, redis.call('HGET', bodies, name))
    end
  end
end

local any_aside = false -- Are runs set aside that the worker cannot claim?

-- The lanes that the worker reads, by their priority. If runs are set aside that it cannot claim, another worker is
-- woken for them: this one may have taken their wake-up.
local function lanes_in_scope()
  local found = { high = {}, low = {} }
  local others, single = more_lanes(MOST_ASIDE)
  if serves_all then
    found.high[1], found.low[1] = 'high', 'low'
    for _, lane in ipairs(others) do
      table.insert(found[parse_lane(lane) or 'low'], lane)
    end
  end
  for queue in pairs(serves) do
    table.insert(found.high, queue == '' and 'high' or 'high:' .. queue)
    table.insert(found.low, queue == '' and 'low' or 'low:' .. queue)
  end
  for _, lane in ipairs(single) do
    local priority, queue, task = parse_lane(lane)
    if (serves_all or serves[queue]) and not excludes[task] then
      table.insert(found[priority or 'low'], lane)
    else
      any_aside = true
      wake_worker(lane)
    end
  end
  return found
end

local function is_earlier(one, other)
  local ms, number = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms < other_ms or (ms == other_ms and tonumber(number) < tonumber(other_number))
end

-- The reader whose next item is the earliest; nil if all lanes are read. A reader reads some items of its lane at once.
local function earliest(readers, wanted)
  local first
  for _, reader in ipairs(readers) do
    if not reader.found[reader.at] and not reader.done then
      local count = math.min(wanted, #readers == 1 and READ_AT_ONCE or READ_OF_EACH)
      reader.found, reader.at = redis.call('XRANGE', streams[reader.lane], reader.last, '+', 'COUNT', count), 1
      reader.done = #reader.found < count
    end
    local item = reader.found[reader.at]
    if item and (not first or is_earlier(item[1], first.found[first.at][1])) then
      first = reader
    end
  end
  return first
end

-- Move a run to the lane of its task, in front of the runs of this task that are queued later.
local function set_aside(lane, task, run, text, item)
  local own, id = lane .. '@' .. task, item[1]
  index_lane(own)
  local moved = redis.pcall('XADD', streams[own], id, unpack(item[2]))
  if type(moved) == 'table' then -- The lane has a later id: the run goes to its end.
    moved = redis.call('XADD', streams[own], '*', unpack(item[2]))
  end
  local before, after = string.match(text, '^(q [-!] %d+ %S+ )%S+ %S+ (.*)$')
  redis.call('HSET', root .. ':live:' .. task, run, before .. own .. ' ' .. moved .. ' ' .. after)
  wake_worker(own)
  any_aside = true
end

-- Read items from the heads of some lanes, until `wanted` of them can be claimed or their bodies reach the byte limit.
-- The answer: these runs (task, run, the end of the run entry from `attempt` on, body, the lane of the run when it is
-- queued again), the readers, each with the ids of the items that were read, whether items may be left. A run entry is
-- not parsed as a whole here: that would take most of the time.
local QUEUED = '^q [-!] %d+ %S+ (%S+) (%S+) (%d+ %d+ %d+ %-?%d* %S+ %S+.*)$'
local function read(chosen, wanted)
  local taken, readers, read_items, taken_bytes = {}, {}, 0, 0
  for i, lane in ipairs(chosen) do
    local at = string.find(lane, '@', 1, true)
    readers[i] = { lane = lane, own = at and string.sub(lane, 1, at - 1) or lane, last = '-', found = {}, at = 1, ids = {} }
  end
  while #taken < wanted and read_items - #taken < MOST_VOID do
    local reader = earliest(readers, wanted - #taken)
    if not reader or bytes + taken_bytes >= most_bytes then
      return taken, readers, reader ~= nil
    end
    local item = reader.found[reader.at]
    local id, fields = item[1], item[2]
    reader.at, reader.last, read_items = reader.at + 1, '(' .. id, read_items + 1
    table.insert(reader.ids, id)
    if is_run_item(fields) then
      local task, run = fields[TASK], fields[RUN]
      local text = redis.call('HGET', root .. ':live:' .. task, run)
      local entry_lane, entry_id, counts = string.match(text or '', QUEUED)
      if entry_id == id and entry_lane == reader.lane then
        if excludes[task] then
          set_aside(reader.lane, task, run, text, item)
        else
          table.insert(taken, { task, run, counts, fields[BODY], reader.own })
          taken_bytes = taken_bytes + #fields[BODY]
        end
      end -- Else the run has left the queue since, and the item is deleted.
    else
      report('a stream of runs', 'item ' .. id .. ' is no run, and was deleted')
    end
  end
  return taken, readers, true
end

-- Delete the items that were read. Delete a lane that is empty now, unless it is one of the default queue.
local function delete_read(readers)
  for _, reader in ipairs(readers) do
    spread(reader.ids, function(...) redis.call('XDEL', streams[reader.lane], ...) end)
    local other = reader.lane ~= 'high' and reader.lane ~= 'low'
    if other and reader.done and (serves_all or reader.ids[1]) and redis.call('XLEN', streams[reader.lane]) == 0 then
      delete_lane(reader.lane)
    end
  end
end

-- A token that is greater than every token before, and than every token that a failover may have lost.
local function first_token(count)
  local last = integer(redis.call('GET', root .. ':token')) or 0
  local first = math.max(last + 1, steady() * 1000 + server_time[2] % 1000)
  redis.call('SET', root .. ':token', string.format('%.0f', first + count - 1))
  return first
end

-- The run entry is written last, because it says that the run is claimed. Only the stream item is deleted after it.
local function claim(taken)
  local claimed_bodies, heartbeats, token, at = {}, {}, first_token(#taken), steady()
  for i, one in ipairs(taken) do
    local name = one[1] .. ' ' .. one[2]
    claimed_bodies[2 * i - 1], claimed_bodies[2 * i] = name, one[4]
    heartbeats[2 * i - 1], heartbeats[2 * i] = at, worker .. ' ' .. name
  end
  spread(claimed_bodies, function(...) redis.call('HSET', bodies, ...) end)
  spread(heartbeats, function(...) redis.call('ZADD', claims, ...) end)
  for i, one in ipairs(taken) do
    local task, run, counts, body, lane = unpack(one)
    local own_token = string.format('%.0f', token + i - 1)
    redis.call('HSET', root .. ':live:' .. task, run,
      'c - ' .. own_token .. ' ' .. worker .. ' ' .. lane .. ' - ' .. counts)
    add(own_token .. ' ' .. counts, task, run, body)
  end
end

if ARGV[6] == '1' then
  return_unknown_claims()
end
local next_wait = promote_due()
local in_scope = lanes_in_scope()
local more = false
for _, priority in ipairs(PRIORITIES) do
  local left = true
  if #given < 4 * limit then
    local taken, readers
    taken, readers, left = read(in_scope[priority], limit - #given / 4)
    if #taken > 0 then
      claim(taken)
    end
    delete_read(readers)
  end
  if left then
    more = true
    for _, lane in ipairs(in_scope[priority]) do
      wake_worker(lane)
    end
  end
end
if not more then
  local bells = serves_all and { wake_list, bell_of('') } or {}
  for queue in pairs(serves) do
    table.insert(bells, bell_of(queue))
  end
  if not any_aside then
    table.insert(bells, wake_list .. ':@')
  end
  redis.call('DEL', unpack(bells))
end
return { more and 0 or next_wait, given, anomalies, left_out and 1 or 0, any_aside and 1 or 0 }
