-- Needs runs.
-- ARGV: holder, token, time to live of a claim, limit, idle time after which a consumer without claims is forgotten.
-- Answer: nil when fenced, else per reaped claim: priority, entry, worker, its fields.
if not reigns(ARGV[4], ARGV[5]) then
  return false
end
local ttl, limit, forgotten = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

local function reap(priority, id, worker, beat)
  local fields = entry(priority, id)
  local place = place_at(priority, id, fields)
  if not place then
    take(priority, id)
    return nil
  end
  local task, run, slot = fields[TASK], fields[RUN], fields[SLOT]
  remember(task, store_line(run, slot, fields[ATTEMPT], 'lost', beat, worker, token_of(priority, id)))
  if place.cancelling then
    ended(task, run)
  else
    queue(task, run, priority, slot, place.attempt + 1, place.failures, place.losses + 1, fields[BODY])
  end
  take(priority, id)
  return { priority, id, worker, fields }
end

-- Only without a single claim: a consumer takes its pending entries with it, and nobody would ever get them again.
local function forget_consumers(stream)
  for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do
    local consumer = {}
    for i = 1, #flat, 2 do
      consumer[flat[i]] = flat[i + 1]
    end
    if consumer.pending == 0 and consumer.idle > forgotten then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer.name)
    end
  end
end

local reaped = {}
despite_full_memory()
open_streams()
for _, priority in ipairs(PRIORITIES) do
  local left = limit - #reaped
  if left > 0 then
    for _, claim in ipairs(redis.call('XPENDING', streams[priority], GROUP, 'IDLE', ttl, '-', '+', left)) do
      reaped[#reaped + 1] = reap(priority, claim[1], claim[2], now - claim[3])
    end
  end
  forget_consumers(streams[priority])
end
return reaped
