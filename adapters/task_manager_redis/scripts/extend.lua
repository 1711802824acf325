-- Needs runs.
-- ARGV: time to live of a claim, then per claim: worker, token, task, run.
-- Answer: the numbers (from 0) of the lost claims, and of those whose runs somebody wants cancelled.
local ttl = tonumber(ARGV[4])
local lost, cancelling = {}, {}
despite_full_memory()
for i = 5, #ARGV, 4 do
  local worker, token, task, run = unpack(ARGV, i, i + 3)
  local number = (i - 5) / 4
  local text, claim = held_by(worker, token, task, run), claim_on(worker, task, run)
  local beat = text and redis.call('ZSCORE', claims, claim)
  -- A heartbeat that somebody deleted is noted again.
  if not text or (beat and steady() - beat >= ttl) then
    lost[#lost + 1] = number
  else
    redis.call('ZADD', claims, steady(), claim)
    if string.sub(text, 3, 3) == '!' then
      cancelling[#cancelling + 1] = number
    end
  end
end
return { lost, cancelling }
