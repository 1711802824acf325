-- Needs runs and tasks and trash and nodes.
-- ARGV: whether the frame is asked for (0, 1), most views, whether all tasks are asked for (0, 1), the number of
-- presences that the reader knows, their digests, the tasks that are asked for.
-- Answer: the frame, the views, the tasks that are left for the next request, steady time minus the server's time,
-- anomalies. The due instants of waiting runs are steady instants; the reader converts them with the difference.
-- The frame (empty if it is not asked for): now, holder, token, number of queued runs, nodes.
-- A node: name, digest of its presence, text of its presence (empty if the reader knows the digest).
-- A view: task, version, slot, due, decided, paused, resumed_at, retired, skips (reason, count, ...), live runs (run,
-- run entry, ...), held runs in their order (each a text of run, lane and slot).
local MOST_ASIDE_COUNTED = 10000
local FIRST_KNOWN, FIRST_TASK = 8, 8 + ARGV[7]

local framed, most, all = ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6] == '1'
create_streams()
if framed then
  repair_indexes()
  delete_expired_nodes()
  sweep(500) -- The frame counts stream items, so the items of removed tasks are deleted first.
  promote_due()
end

local function repair_claims(task, live)
  for i = 2, #live, 2 do
    local worker = string.match(live[i], '^c %S %S+ (%S+)')
    if worker then
      repair_claim(worker, task, live[i - 1])
    end
  end
  return live
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
  return integer(fields.version) and {
    task, fields.version, fields.slot or '', fields.due or '', fields.decided or '', fields.paused or '',
    fields.resumed_at or '', redis.call('SISMEMBER', root .. ':retired', task), skips,
    repair_claims(task, redis.call('HGETALL', root .. ':live:' .. task)), held_in_order(task, -1),
  }
end

local function living_nodes()
  local known, found = {}, {}
  for i = FIRST_KNOWN, FIRST_TASK - 1 do
    known[ARGV[i]] = true
  end
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', nodes, '(' .. steady(), '+inf')) do
    local digest = redis.call('HGET', presences, 'digest ' .. node)
    if not digest then
      redis.call('ZREM', nodes, node) -- Its presence was deleted. The next announcement brings it again.
    else
      found[#found + 1] = { node, digest, known[digest] and '' or redis.call('HGET', presences, 'text ' .. node) or '' }
    end
  end
  return found
end

local function frame()
  local term = redis.call('HMGET', term_key, 'holder', 'token', 'until')
  if not term[1] or steady() >= (integer(term[3]) or 0) then
    term = { '', '' }
  end
  local queued = 0
  for _, lane in ipairs(some_lanes(MOST_ASIDE_COUNTED)) do
    queued = queued + redis.call('XLEN', streams[lane])
  end
  return { now, term[1], term[2], queued, living_nodes() }
end

local views, left = {}, {}
local asked = all and redis.call('ZRANGE', catalogue, 0, -1) or { unpack(ARGV, FIRST_TASK) }
for _, task in ipairs(asked) do
  if #views < most then
    views[#views + 1] = view(task) or nil
  else
    left[#left + 1] = task
  end
end
return { framed and frame() or {}, views, left, steady() - now, anomalies }
