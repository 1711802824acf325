-- Needs runs.
-- ARGV: worker, then for each success that its task remembers: token, task, run, line of history, last success, cursor
-- (empty: the stored cursor stays).
-- Other settlements need less (settle.lua).
-- Answer: the numbers (from 0) of the lost claims.
allow_oom()
local lost = {}
local worker = ARGV[4]
for i = 5, #ARGV, 6 do
  local token, task, run, line, success, cursor = unpack(ARGV, i, i + 5)
  if not text_of_claim(worker, token, task, run) then
    lost[#lost + 1] = (i - 5) / 6
  else
    append_history(task, line)
    if cursor == '' then
      redis.call('HSET', root .. ':memory:' .. task, 'success', success)
    else
      redis.call('HSET', root .. ':memory:' .. task, 'success', success, 'cursor', cursor)
    end
    end_run(task, run)
    drop_claim(worker, task, run)
  end
end
delete_dropped_claims()
return lost
