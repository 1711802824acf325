-- Needs runs.
-- One step of a promotion: queue now the runs that wait for a retry or were released. A promotion of many runs takes several steps.
-- ARGV: most runs and most bytes of bodies in this step, the greatest token when the promotion began (empty: it begins
-- now), the position (a kind of wait and a cursor), the number of spared runs, these runs, the tasks that are left.
-- Answer: the number of queued runs, the greatest token when the promotion began, the number of finished tasks, the
-- position in the first unfinished task (two values).
--
-- HSCAN returns each run that stays in the hash from the first step to the last, and may return a run twice
-- (https://redis.io/docs/latest/commands/scan/). A step removes each run that it queues from the hash, so no later step
-- meets the run again. A run with a greater token was claimed after the promotion began: it waits again, for another
-- reason, and the promotion leaves it.
local most_runs, most_bytes, began, kind, cursor = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local first = 10 + ARGV[9]
local runs, bytes, count, spared = 0, 0, 0, {}
allow_oom()
create_streams()
began = integer(began) or integer(redis.call('GET', root .. ':token')) or 0
for i = 10, first - 1 do
  spared[ARGV[i]] = true
end

local function promote_run(task, run, body)
  local entry = entry_of(task, run)
  if entry and entry.state == 'w' then
    if spared[run] or tonumber(entry.token) > began then
      return
    end
    queue(task, run, entry, body)
    count = count + 1
  end
  stop_waiting(task, run) -- This also removes what a script that stopped half-way left.
end

local function answer(done)
  return { count, string.format('%.0f', began), done, kind, cursor }
end

for i = first, #ARGV do
  local task_done
  repeat
    local page = redis.call('HSCAN', root .. ':' .. kind .. ':' .. ARGV[i], cursor, 'COUNT', 20)
    for j = 1, #page[2], 2 do
      promote_run(ARGV[i], page[2][j], page[2][j + 1])
      runs, bytes = runs + 1, bytes + #page[2][j + 1]
    end
    cursor = page[1]
    task_done = cursor == '0' and kind == 'pause'
    if cursor == '0' then
      kind = task_done and 'retry' or 'pause'
    end
    if runs >= most_runs or bytes >= most_bytes then
      return answer(i - first + (task_done and 1 or 0))
    end
  until task_done
end
return answer(#ARGV - first + 1)
