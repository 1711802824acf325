-- Needs runs and tasks.
-- ARGV: whether the frame is wanted (0, 1), most tasks viewed when all are asked for, whether all are (0, 1), how many
-- presences the reader knows, their digests, tasks.
-- Answer: frame (empty, or now, holder, token, queued, nodes), views, tasks that exist and are not among the views,
-- claims (priority, entry, worker): those of the viewed runs, and maybe others.
-- Nodes: digest of the presence, its text (empty if known), ...
-- A view: task, version, slot, due, paused, resumed_at, retired, skips (reason, count, ...), live runs (run, place, ...),
-- held runs (run, priority and slot as words) in their order.
local LIVE = 9
local FIRST_KNOWN, FIRST_TASK = 8, 8 + ARGV[7]

local framed, most, all = ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6] == '1'
open_streams()
if framed then
  mend_indexes()
  promote(500)
end

local function view(task)
  local stored = redis.call('HGETALL', root .. ':task:' .. task)
  local fields, skips = {}, {}
  for i = 1, #stored, 2 do
    fields[stored[i]] = stored[i + 1]
    if string.sub(stored[i], 1, 8) == 'skipped:' then
      skips[#skips + 1] = string.sub(stored[i], 9)
      skips[#skips + 1] = stored[i + 1]
    end
  end
  return fields.version and {
    task, fields.version, fields.slot or '', fields.due or '', fields.paused or '',
    fields.resumed_at or '', redis.call('SISMEMBER', root .. ':retired', task), skips,
    redis.call('HGETALL', root .. ':live:' .. task), line_of(task, -1),
  }
end

local function nodes()
  local known, found, presences = {}, {}, root .. ':presences'
  for i = FIRST_KNOWN, FIRST_TASK - 1 do
    known[ARGV[i]] = true
  end
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', root .. ':nodes', '(' .. now, '+inf')) do
    local digest = redis.call('HGET', presences, 'digest ' .. node)
    if digest then
      found[#found + 1] = digest
      found[#found + 1] = known[digest] and '' or redis.call('HGET', presences, 'text ' .. node)
    end
  end
  return found
end

local function frame()
  local term = redis.call('HMGET', reign, 'holder', 'token', 'until')
  if not term[1] or now >= tonumber(term[3]) then
    term = { '', '' }
  end
  local queued = 0
  for _, priority in ipairs(PRIORITIES) do
    -- Acknowledged entries are deleted in the same step, so what is not pending has not been claimed.
    queued = queued + redis.call('XLEN', streams[priority]) - redis.call('XPENDING', streams[priority], GROUP)[1]
  end
  return { now, term[1], term[2], queued, nodes() }
end

local function claims_of(priority, views, runs)
  local found, count = {}, redis.call('XPENDING', streams[priority], GROUP)[1]
  -- As one list or run by run, whichever is less.
  if count > 0 and count <= runs then
    return redis.call('XPENDING', streams[priority], GROUP, '-', '+', count)
  end
  for _, seen in ipairs(count > 0 and views or {}) do
    for i = 2, #seen[LIVE], 2 do
      local id = string.match(seen[LIVE][i], '^q %S ' .. priority .. ' (%S+)')
      found[#found + 1] = id and pending(priority, id) or nil
    end
  end
  return found
end

local views, left, runs, claims = {}, {}, 0, {}
local asked = all and redis.call('ZRANGE', catalogue, 0, -1) or { unpack(ARGV, FIRST_TASK) }
for _, task in ipairs(asked) do
  if #views < most then
    local seen = view(task)
    views[#views + 1] = seen or nil
    runs = runs + (seen and #seen[LIVE] / 2 or 0)
  else
    left[#left + 1] = task
  end
end
for _, priority in ipairs(runs > 0 and PRIORITIES or {}) do
  for _, claim in ipairs(claims_of(priority, views, runs)) do
    claims[#claims + 1] = { priority, claim[1], claim[2] }
  end
end
return { framed and frame() or {}, views, left, claims }
