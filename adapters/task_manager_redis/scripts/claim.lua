-- Needs runs.
-- ARGV: worker, limit, whether the tokens of the worker's known claims follow (0, 1), most bytes of bodies, these
-- tokens.
-- Answer: milliseconds until the next waiting run is due (-1: none waits), the claims, anomalies, whether the byte
-- limit left out claims that the worker does not know (0, 1).
-- The claims are one flat list. For each claim: counts, task, run, body. The counts are words: token, attempt, failures,
-- losses, and more that no reader needs.
--
-- The claim gives the fencing token; the queue does not. A failover may lose the claim and keep the stream item. The
-- run is then claimed again, later by the server's time, and so with a greater token.
local MOST_VOID, READ_AT_ONCE = 1000, 50 -- Void items are those of runs that are not queued. Both limit one script.

local worker, limit, most_bytes = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local bodies = root .. ':claimed:' .. worker
local given, bytes, left_out = {}, 0, false
allow_oom()
create_streams()

local function add(counts, task, run, body)
  local n = #given
  given[n + 1], given[n + 2], given[n + 3], given[n + 4] = counts, task, run, body
  bytes = bytes + #body
end

local function return_unknown_claims()
  local known = {}
  for i = 8, #ARGV do
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

-- Read items from the head of a stream, until `wanted` of them can be claimed or their bodies reach the byte limit.
-- The answer: these runs (task, run, the end of the run entry from `attempt` on, body), the ids of all items that were
-- read, whether items may be left. A run entry is not parsed as a whole here: that would take most of the time.
local QUEUED = '^q [-!] %d+ %S+ (%S+) (%S+) (%d+ %d+ %d+ %-?%d* %S+ %S+.*)$'
local function read(priority, wanted)
  local taken, ids, last, taken_bytes = {}, {}, '-', 0
  while #taken < wanted and #ids - #taken < MOST_VOID do
    local count = math.min(wanted - #taken, READ_AT_ONCE)
    local found = redis.call('XRANGE', streams[priority], last, '+', 'COUNT', count)
    for _, item in ipairs(found) do
      if bytes + taken_bytes >= most_bytes then
        return taken, ids, true
      end
      local id, fields = item[1], item[2]
      ids[#ids + 1] = id
      last = '(' .. id
      if is_run_item(fields) then
        local text = redis.call('HGET', root .. ':live:' .. fields[TASK], fields[RUN])
        local entry_priority, entry_id, counts = string.match(text or '', QUEUED)
        if entry_id == id and entry_priority == priority then
          taken[#taken + 1] = { fields[TASK], fields[RUN], counts, fields[BODY] }
          taken_bytes = taken_bytes + #fields[BODY]
        end -- Else the run has left the queue since, and the item is deleted.
      else
        report('a stream of runs', 'item ' .. id .. ' is no run, and was deleted')
      end
    end
    if #found < count then
      return taken, ids, false
    end
  end
  return taken, ids, true
end

-- A token that is greater than every token before, and than every token that a failover may have lost.
local function first_token(count)
  local last = integer(redis.call('GET', root .. ':token')) or 0
  local first = math.max(last + 1, steady() * 1000 + server_time[2] % 1000)
  redis.call('SET', root .. ':token', string.format('%.0f', first + count - 1))
  return first
end

-- The run entry is written last, because it says that the run is claimed. Only the stream item is deleted after it.
local function claim(priority, taken)
  local claimed_bodies, heartbeats, token, at = {}, {}, first_token(#taken), steady()
  for i, one in ipairs(taken) do
    local name = one[1] .. ' ' .. one[2]
    claimed_bodies[2 * i - 1], claimed_bodies[2 * i] = name, one[4]
    heartbeats[2 * i - 1], heartbeats[2 * i] = at, worker .. ' ' .. name
  end
  spread(claimed_bodies, function(...) redis.call('HSET', bodies, ...) end)
  spread(heartbeats, function(...) redis.call('ZADD', claims, ...) end)
  for i, one in ipairs(taken) do
    local task, run, counts, body = one[1], one[2], one[3], one[4]
    local own_token = string.format('%.0f', token + i - 1)
    redis.call('HSET', root .. ':live:' .. task, run,
      'c - ' .. own_token .. ' ' .. worker .. ' ' .. priority .. ' - ' .. counts)
    add(own_token .. ' ' .. counts, task, run, body)
  end
end

if ARGV[6] == '1' then
  return_unknown_claims()
end
local next_wait = promote_due()
local more = false
for _, priority in ipairs(PRIORITIES) do
  if #given < 4 * limit then
    local taken, ids, left = read(priority, limit - #given / 4)
    if #taken > 0 then
      claim(priority, taken)
    end
    spread(ids, function(...) redis.call('XDEL', streams[priority], ...) end)
    more = more or left
  else
    more = true
  end
end
if more then
  wake_worker()
else
  redis.call('DEL', wake_list)
end
return { more and 0 or next_wait, given, anomalies, left_out and 1 or 0 }
