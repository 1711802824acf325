-- Needs runs.
-- ARGV: time to live of a claim, then per claim: priority, entry, worker, task, run.
-- Answer: the numbers (from 0) of the lost claims, and of those whose runs somebody wants cancelled.
local ttl = tonumber(ARGV[4])
local lost, cancelling = {}, {}
for i = 5, #ARGV, 5 do
  local priority, id, worker, task, run = unpack(ARGV, i, i + 4)
  local number = (i - 5) / 5
  local text, idle = held_by(priority, id, worker, task, run)
  if not text or idle >= ttl then
    lost[#lost + 1] = number
  else
    -- By its holder, who was looked up first: XCLAIM by anybody else would steal the entry.
    redis.call('XCLAIM', streams[priority], GROUP, worker, 0, id, 'JUSTID')
    if string.sub(text, 3, 3) == '!' then
      cancelling[#cancelling + 1] = number
    end
  end
end
return { lost, cancelling }
