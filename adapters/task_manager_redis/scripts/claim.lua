-- Needs runs.
-- ARGV: worker, limit, whether the tokens of the worker's known claims follow (0, 1), most bytes of bodies, these
-- tokens.
-- Answer: milliseconds until the next waiting run is due (-1: none waits), the claims, anomalies, whether the byte
-- limit left out claims that the worker does not know (0, 1).
-- A claim: token, attempt, failures, losses, task, run, body.
--
-- The claim gives the fencing token; the queue does not. A failover may lose the claim and keep the stream item. The
-- run is then claimed again, later by the server's time, and so with a greater token.
local MOST_VOID, READ_AT_ONCE = 1000, 50 -- Void items are those of runs that are not queued. Both limit one script.

local worker, limit, most_bytes = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local bodies = root .. ':claimed:' .. worker
local given, bytes, left_out = {}, 0, false
allow_oom()
create_streams()

local function add(task, run, entry, body)
  bytes = bytes + #(body or '')
  given[#given + 1] = { entry.token, entry.attempt, entry.failures, entry.losses, task, run, body }
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
    elseif #given < limit and not known[entry.token] then
      if bytes >= most_bytes then
        left_out = true
        break
      end
      add(task, run, entry, redis.call('HGET', bodies, name))
    end
  end
end

-- Read items from the head of a stream, until `wanted` of them can be claimed or their bodies reach the byte limit.
-- The answer: these runs (task, run, entry, body), the ids of all items that were read, whether items may be left.
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
        local entry = entry_of(fields[TASK], fields[RUN])
        if entry and entry.state == 'q' and entry.priority == priority and entry.stream_id == id then
          taken[#taken + 1] = { fields[TASK], fields[RUN], entry, fields[BODY] }
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
local function claim(taken)
  local claimed_bodies, heartbeats, token = {}, {}, first_token(#taken)
  for _, one in ipairs(taken) do
    local task, run, _, body = unpack(one)
    claimed_bodies[#claimed_bodies + 1] = task .. ' ' .. run
    claimed_bodies[#claimed_bodies + 1] = body
    heartbeats[#heartbeats + 1] = steady()
    heartbeats[#heartbeats + 1] = claim_member(worker, task, run)
  end
  spread(claimed_bodies, function(...) redis.call('HSET', bodies, ...) end)
  spread(heartbeats, function(...) redis.call('ZADD', claims, ...) end)
  for i, one in ipairs(taken) do
    local task, run, entry, body = unpack(one)
    entry.state, entry.worker, entry.stream_id = 'c', worker, '-'
    entry.token = string.format('%.0f', token + i - 1)
    save_entry(task, run, entry)
    add(task, run, entry, body)
  end
end

if ARGV[6] == '1' then
  return_unknown_claims()
end
local next_wait = promote_due()
local more = false
for _, priority in ipairs(PRIORITIES) do
  if #given < limit then
    local taken, ids, left = read(priority, limit - #given)
    if #taken > 0 then
      claim(taken)
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
