-- This part stands before every script: the time, the term, statistics.
--
-- A script reads and compares first and writes last, because Redis does not roll back: if a command of a script fails,
-- the writes before it stay. A script therefore adds the new value before it deletes the old one. A script that stops
-- half-way has lost nothing, and the same verb can be asked again (docs/decisions/0002-redis-streams.md).
-- The first line of a script names the other parts that it needs.
--
-- KEYS[1]  the prefix with its hash tag. Every other key begins with it, so a script touches one slot of a cluster: a
--          cluster hashes only the text between the braces (https://redis.io/docs/latest/commands/cluster-keyslot/).
-- KEYS[2]  the key of the term. client.py says why it is declared too.
-- ARGV[1]  milliseconds that are added to the server's time. They are 0, except where a test shifts time.
-- ARGV[2]  lines of history that are kept for each task.   ARGV[3]  their time to live in milliseconds.
-- The script's own arguments begin at ARGV[4]. The names of tasks and runs are percent-encoded, so they hold no spaces.

local root, term_key = KEYS[1], KEYS[2]
local history_kept, statistics_ttl = tonumber(ARGV[2]), ARGV[3]
local server_time = redis.call('TIME')
local now = server_time[1] * 1000 + math.floor(server_time[2] / 1000) + ARGV[1]

-- Two indexes of all tasks: by version, and by due instant. A task without a next slot, or a retired one, has the due
-- instant '+inf'.
local catalogue, agenda = root .. ':catalogue', root .. ':due'

-- A stream of the newest changes of the catalogue. An item is one change. Its id begins with its version; its values are
-- the version before it and the task.
local changes = root .. ':chain'

-- Let this script write although the server's memory is full. A script that frees memory, or that keeps leases alive,
-- calls this before its first write. A script that adds definitions or runs does not call it.
-- A full server refuses a command that may need memory, but it lets a deletion pass
-- (https://redis.io/docs/latest/develop/reference/errors/common/oom/). After a script has written once, the server
-- checks no more. The flag `allow-oom` says the same, but Redis 6.2 does not know flags.
local oom_allowed = false
local function allow_oom()
  if not oom_allowed then
    oom_allowed = true
    redis.call('UNLINK', root .. ':nothing') -- This key never exists.
  end
end

-- The same for a script that writes once and runs often: only in a full server it needs one more command.
local function call_even_if_full(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    allow_oom()
    return redis.call(...)
  end
  return answer
end

-- The integer that a text stands for; nil if the text is no integer. Lua's numbers are doubles, which
-- hold the instants and tokens of the store exactly. The scripts write large integers with '%.0f', because the default
-- form of a number loses digits (https://github.com/redis/redis/issues/1118).
local LONGEST_NUMBER = 16
local function integer(text)
  local whole = text and #text <= LONGEST_NUMBER and string.find(text, '^%-?%d+$')
  return whole and tonumber(text) or nil
end

-- Steady time: the server's time plus all that its clock was ever set back by. Steady time never goes back, so the
-- scripts measure leases, waits and other lengths with it. Without it, a lease that has ended would live again.
-- The store remembers the latest steady instant. A script sees in it that the clock was set back, and adds the
-- difference. A script that only reads passes `lag`: it saves the latest instant only if the saved one is older than
-- `lag` milliseconds.
-- The hash also says whether there are other lanes than those of the default queue (runs.lua): most stores have none, and
-- a script learns it here without one more command.
local set_back, other_lanes
local function steady(lag)
  if not set_back then
    local stored = redis.call('HMGET', root .. ':clock', 'latest', 'set_back', 'lanes')
    other_lanes = stored[3]
    local latest, stored_set_back = integer(stored[1]) or 0, integer(stored[2]) or 0
    set_back = math.max(stored_set_back, latest - now)
    if set_back > stored_set_back or now + set_back > latest + (lag or 0) then
      -- In a full server this write fails, and the next script saves the instant.
      redis.pcall('HSET', root .. ':clock', 'latest', now + set_back, 'set_back', set_back)
    end
  end
  return now + set_back
end

local function is_current_term(holder, token)
  local term = redis.call('HMGET', term_key, 'holder', 'token', 'until')
  return term[1] == holder and term[2] == token and steady() < (integer(term[3]) or 0)
end

-- The scheduler of the leader gives a sign of life. In a full server this write fails, and the sign is not given.
local function advance_progress()
  redis.pcall('HINCRBY', term_key, 'progress', 1)
end

-- The earliest due instant of all tasks; nil for none.
local function first_due()
  return tonumber(redis.call('ZRANGEBYSCORE', agenda, '-inf', '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
end

-- Values of ours that another program has changed. A script passes over such a value, or repairs it, and names it
-- beside its answer: where the value is, and what was wrong.
local MOST_ANOMALIES, LONGEST_ANOMALY = 20, 200
local anomalies = {}
local function report(where, what)
  if #anomalies < 2 * MOST_ANOMALIES then
    anomalies[#anomalies + 1] = string.sub(where, 1, LONGEST_ANOMALY)
    anomalies[#anomalies + 1] = string.sub(what, 1, LONGEST_ANOMALY)
  end
end

-- Wake every process that waits for a change: of the term, of the catalogue, or a request to cancel.
local function notify()
  redis.call('XADD', root .. ':signals', 'MAXLEN', '~', 100, '*', 'at', now)
end

-- Add a line to a list of statistics, and trim the list. The newest line is its first element. No rule depends on such
-- a list.
local function append_line(list, limit, line)
  if redis.call('LPUSH', list, line) > limit then
    redis.call('LTRIM', list, 0, limit - 1)
  end
  redis.call('PEXPIRE', list, statistics_ttl)
end
