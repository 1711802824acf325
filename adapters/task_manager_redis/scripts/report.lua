-- Needs runs.
-- ARGV: time to live of a report, then for each report: worker, token, task, run, text.
-- A report is a key of its own: it ends by itself, and a settlement need not delete it. It begins with the token of its
-- claim, so it is not shown when another claim holds the run.
-- Answer: the numbers (from 0) of the lost claims.
local lost = {}
for i = 5, #ARGV, 5 do
  local worker, token, task, run, text = unpack(ARGV, i, i + 4)
  if text_of_claim(worker, token, task, run) then
    redis.call('SET', root .. ':progress:' .. task .. ' ' .. run, token .. ' ' .. text, 'PX', ARGV[4])
  else
    lost[#lost + 1] = (i - 5) / 5
  end
end
return lost
