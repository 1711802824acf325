-- Needs runs.
-- ARGV: holder, token, time to live of a claim, limit, most bytes of bodies.
-- Answer: nil when fenced, else per reaped claim: worker, token, attempt, failures, losses, task, run, body; and what is
-- strange, and whether more should be reaped than the bytes allow (0, 1).
if not reigns(ARGV[4], ARGV[5]) then
  return false
end
local ttl, limit, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local bytes, left_out = 0, false

local function reap(worker, task, run, beat)
  local place = place_of(task, run)
  if not place or place.state ~= 'c' or place.worker ~= worker then
    return nil -- Left by a script that stopped half-way.
  end
  local body = claimed_body(worker, task, run)
  bytes = bytes + #(body or '')
  local claim = { worker, place.token, place.attempt, place.failures, place.losses, task, run, body }
  remember(task, store_line(run, place, 'lost', beat, worker, place.token))
  if body and place.flag ~= '!' then
    place.attempt, place.losses = place.attempt + 1, place.losses + 1
    queue(task, run, place, body)
  else
    ended(task, run)
  end
  return body and claim or nil
end

local reaped = {}
despite_full_memory()
open_streams()
local silent = redis.call('ZRANGEBYSCORE', claims, '-inf', steady() - ttl, 'WITHSCORES', 'LIMIT', 0, limit)
for i = 1, #silent, 2 do
  if bytes >= most_bytes then
    left_out = true
    break
  end
  local worker, task, run = string.match(silent[i], '^(%S+) (%S+) (%S+)$')
  if worker then
    reaped[#reaped + 1] = reap(worker, task, run, tonumber(silent[i + 1]))
    stop_claiming(worker, task, run)
  else
    wonder('the set of claims', silent[i] .. ' is none, and was dropped')
    redis.call('ZREM', claims, silent[i])
  end
end
forget_claims()
return { reaped, strange, left_out and 1 or 0 }
