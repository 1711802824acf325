-- Needs runs.
-- ARGV: holder, token, time to live of a claim, limit, most bytes of bodies.
-- Answer: nil if the term is over; else the reaped claims, anomalies, whether the byte limit left out
-- claims that have expired (0, 1).
-- A claim: worker, counts (words: token, attempt, failures, losses), task, run, body.
if not is_current_term(ARGV[4], ARGV[5]) then
  return false
end
local ttl, limit, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local bytes, left_out = 0, false

local function reap(worker, task, run, heartbeat)
  local entry = entry_of(task, run)
  if not entry or entry.state ~= 'c' or entry.worker ~= worker then
    return nil -- A script that stopped half-way left it.
  end
  local body = claimed_body(worker, task, run)
  bytes = bytes + #(body or '')
  local counts = table.concat({ entry.token, entry.attempt, entry.failures, entry.losses }, ' ')
  local claim = { worker, counts, task, run, body }
  append_history(task, history_line(run, entry, 'lost', heartbeat, worker, entry.token))
  if body and entry.flag ~= '!' then
    entry.attempt, entry.losses = entry.attempt + 1, entry.losses + 1
    queue(task, run, entry, body)
  else
    end_run(task, run)
  end
  return body and claim or nil
end

local reaped = {}
allow_oom()
create_streams()
local expired = redis.call('ZRANGEBYSCORE', claims, '-inf', steady() - ttl, 'WITHSCORES', 'LIMIT', 0, limit)
for i = 1, #expired, 2 do
  if bytes >= most_bytes then
    left_out = true
    break
  end
  local worker, task, run = string.match(expired[i], '^(%S+) (%S+) (%S+)$')
  if worker then
    reaped[#reaped + 1] = reap(worker, task, run, tonumber(expired[i + 1]))
    drop_claim(worker, task, run)
  else
    report('the set of claims', expired[i] .. ' is no claim, and was deleted')
    redis.call('ZREM', claims, expired[i])
  end
end
delete_dropped_claims()
return { reaped, anomalies, left_out and 1 or 0 }
