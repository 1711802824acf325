-- Needs runs.
-- ARGV: for each run: task, run.
-- Answer: for each run the text of its last report; empty if the attempt that holds the run has reported nothing.
local found = {}
for i = 4, #ARGV, 2 do
  local task, run = ARGV[i], ARGV[i + 1]
  local entry = entry_of(task, run)
  local report = entry and entry.state == 'c' and redis.call('GET', root .. ':progress:' .. task .. ' ' .. run)
  local token, text = string.match(report or '', '^(%d+) (.*)$')
  found[#found + 1] = token and token == entry.token and text or ''
end
return found
