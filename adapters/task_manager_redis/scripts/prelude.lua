-- Stands before every script: time, the term, statistics. A script reads and compares first and writes last, because
-- Redis does not roll back. Of what it writes, what is new comes before what is old goes: a script that the server stops
-- half-way has lost nothing. What a script needs beside this it says in its first line.
--
-- KEYS[1]  the tagged prefix. Every other key is made from it, so that a script touches one slot of a cluster.
-- KEYS[2]  the key of the term.
-- ARGV[1]  milliseconds added to the server's time: 0, except where tests move time.
-- ARGV[2]  lines of history kept per task.   ARGV[3]  their time to live in milliseconds.
-- The arguments of the script itself begin at ARGV[4]. Tasks and runs come percent-encoded, hence without spaces.

local root, reign = KEYS[1], KEYS[2]
local keep, statistics_ttl = tonumber(ARGV[2]), ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[1]

-- Two indexes of all tasks, by version and by the instant at which each is due: '+inf' without a plan, or if retired.
local catalogue, agenda = root .. ':catalogue', root .. ':due'

-- The newest changes of the catalogue by version, one a member: its version, the version before it, the task.
local changes = root .. ':changes'

-- Called before the first write of a script that frees memory or keeps what is there. A server whose memory is full
-- refuses every command that may need more, up to the first write of a script; a deletion never needs any. Scripts that
-- add definitions or runs do not call it.
local allowed = false
local function despite_full_memory()
  if not allowed then
    allowed = true
    redis.call('UNLINK', root .. ':nothing') -- A key that never exists.
  end
end

-- The number that a text of ours stands for; nil for what is none.
local LONGEST_NUMBER = 16
local function integer(text)
  local whole = text and #text <= LONGEST_NUMBER and string.find(text, '^%-?%d+$')
  return whole and tonumber(text) or nil
end

-- Lengths of time are measured by `steady`, which goes on where a clock is set back: the server's time, and all that it
-- was set back by until now. Every script that is told of it notes it, because what has ended must not live again.
-- A script that only watches the clock lets it run on for `lag` milliseconds.
local set_back
local function steady(lag)
  if not set_back then
    local noted = redis.call('HMGET', root .. ':clock', 'latest', 'set_back')
    local latest, known = integer(noted[1]) or 0, integer(noted[2]) or 0
    set_back = math.max(known, latest - now)
    if set_back > known or now + set_back > latest + (lag or 0) then
      -- If the memory is full this fails, and the next script notes it.
      redis.pcall('HSET', root .. ':clock', 'latest', now + set_back, 'set_back', set_back)
    end
  end
  return now + set_back
end

local function reigns(holder, token)
  local term = redis.call('HMGET', reign, 'holder', 'token', 'until')
  return term[1] == holder and term[2] == token and steady() < (integer(term[3]) or 0)
end

-- What somebody else did to our values. It is passed over, or put right, row by row, and said beside the answer: where,
-- and what.
local MOST_STRANGE, LONGEST_STRANGE = 20, 200
local strange = {}
local function wonder(where, what)
  if #strange < 2 * MOST_STRANGE then
    strange[#strange + 1], strange[#strange + 2] = string.sub(where, 1, LONGEST_STRANGE), string.sub(what, 1, LONGEST_STRANGE)
  end
end

local function ring()
  redis.call('XADD', root .. ':signals', 'MAXLEN', '~', 100, '*', 'at', now)
end

-- Statistics: streams trimmed as they are written. Nothing that lives is ever in one of them.
local function note(statistics, kept, line)
  redis.call('XADD', statistics, 'MAXLEN', kept, '*', 'line', line)
  redis.call('PEXPIRE', statistics, statistics_ttl)
end
