-- Needs runs.
-- ARGV: time to live of a claim, then for each claim: worker, token, task, run.
-- Answer: the numbers (from 0) of the lost claims, and of the claims whose cancellation was requested.
local ttl = tonumber(ARGV[4])
local lost, cancelling = {}, {}
allow_oom()
for i = 5, #ARGV, 4 do
  local worker, token, task, run = unpack(ARGV, i, i + 3)
  local number = (i - 5) / 4
  local text, claim = text_of_claim(worker, token, task, run), claim_member(worker, task, run)
  local heartbeat = text and redis.call('ZSCORE', claims, claim)
  -- If only the heartbeat was deleted, the claim lives, and its heartbeat is written again.
  if not text or (heartbeat and steady() - heartbeat >= ttl) then
    lost[#lost + 1] = number
  else
    redis.call('ZADD', claims, steady(), claim)
    if string.sub(text, 3, 3) == '!' then
      cancelling[#cancelling + 1] = number
    end
  end
end
return { lost, cancelling }
