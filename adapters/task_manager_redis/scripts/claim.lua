-- Needs runs.
-- ARGV: worker, limit, whether the worker says what it knows (0, 1), most bytes of bodies, then the tokens that it knows.
-- Answer: milliseconds to the next waiting run (-1: none), per claim: token, attempt, failures, losses, task, run, body;
-- what is strange, and whether more claims should be given again than the bytes allow (0, 1).
--
-- The token is given here and not when the run is queued: a failover that loses a claim but not the entry lets the run
-- be claimed again, and that claim is later by the server's time.
local MOST_DEAD, READ_AT_ONCE = 1000, 50

local worker, limit, most_bytes = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local bodies = root .. ':claimed:' .. worker
local given, bytes, left_out = {}, 0, false
despite_full_memory()
open_streams()

local function give(task, run, place, body)
  bytes = bytes + #(body or '')
  given[#given + 1] = { place.token, place.attempt, place.failures, place.losses, task, run, body }
end

local function give_again()
  local known = {}
  for i = 8, #ARGV do
    known[ARGV[i]] = true
  end
  for _, name in ipairs(redis.call('HKEYS', bodies)) do
    local task, run = string.match(name, '^(%S+) (%S+)$')
    local place = task and place_of(task, run)
    if not place or place.state ~= 'c' or place.worker ~= worker then
      redis.call('HDEL', bodies, name) -- Left by a script that stopped half-way.
    elseif #given < limit and not known[place.token] then
      if bytes >= most_bytes then
        left_out = true
        break
      end
      give(task, run, place, redis.call('HGET', bodies, name))
    end
  end
end

-- Read entries from the head of a stream, until so many of them can be claimed or they are long enough. The answer: those (task, run, place,
-- body), the ids of all that were read, and whether something may be left.
local function read(priority, wanted)
  local taken, ids, last, weight = {}, {}, '-', 0
  while #taken < wanted and #ids - #taken < MOST_DEAD do
    local count = math.min(wanted - #taken, READ_AT_ONCE)
    local found = redis.call('XRANGE', streams[priority], last, '+', 'COUNT', count)
    for _, item in ipairs(found) do
      if bytes + weight >= most_bytes then
        return taken, ids, true
      end
      local id, fields = item[1], item[2]
      ids[#ids + 1] = id
      last = '(' .. id
      if is_run(fields) then
        local place = place_of(fields[TASK], fields[RUN])
        if place and place.state == 'q' and place.priority == priority and place.id == id then
          taken[#taken + 1] = { fields[TASK], fields[RUN], place, fields[BODY] }
          weight = weight + #fields[BODY]
        end -- Else the run is elsewhere, or no more, or never was.
      else
        wonder('a stream of runs', 'entry ' .. id .. ' is no run, and was dropped')
      end
    end
    if #found < count then
      return taken, ids, false
    end
  end
  return taken, ids, true
end

-- Greater than every token before, and than every one that a failover may have lost.
local function first_token(count)
  local last = integer(redis.call('GET', root .. ':token')) or 0
  local first = math.max(last + 1, steady() * 1000 + clock[2] % 1000)
  redis.call('SET', root .. ':token', string.format('%.0f', first + count - 1))
  return first
end

-- The place comes last but for the entry, because it is what says that a run is claimed.
local function claim(taken)
  local held, beats, token = {}, {}, first_token(#taken)
  for _, one in ipairs(taken) do
    local task, run, _, body = unpack(one)
    held[#held + 1] = task .. ' ' .. run
    held[#held + 1] = body
    beats[#beats + 1] = steady()
    beats[#beats + 1] = claim_on(worker, task, run)
  end
  spread(held, function(...) redis.call('HSET', bodies, ...) end)
  spread(beats, function(...) redis.call('ZADD', claims, ...) end)
  for i, one in ipairs(taken) do
    local task, run, place, body = unpack(one)
    place.state, place.worker, place.id = 'c', worker, '-'
    place.token = string.format('%.0f', token + i - 1)
    stand(task, run, place)
    give(task, run, place, body)
  end
end

if ARGV[6] == '1' then
  give_again()
end
local following = promote()
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
  knock()
else
  redis.call('DEL', bell)
end
return { more and 0 or following, given, strange, left_out and 1 or 0 }
