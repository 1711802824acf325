-- Needs runs.
-- One step of promoting, which takes many if many runs wait. ARGV: most runs, most bytes of bodies, the greatest token
-- when the promoting began (empty: it begins now), the kind of wait and the cursor where the last step ended, how many
-- runs are spared, these runs, tasks from the one on where the last step ended.
-- Answer: how many runs were queued, the greatest token when the promoting began, how many tasks are done, and of the
-- next one the kind and the cursor where the next step begins.
--
-- A run leaves its wait here, so that no later step or promoting meets it again. One that was claimed since the
-- promoting began waits for another reason, and is left.
local most_runs, most_bytes, began, kind, cursor = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local first = 10 + ARGV[9]
local runs, bytes, count, spared = 0, 0, 0, {}
despite_full_memory()
open_streams()
began = integer(began) or integer(redis.call('GET', root .. ':token')) or 0
for i = 10, first - 1 do
  spared[ARGV[i]] = true
end

local function promote(task, run, body)
  local place = place_of(task, run)
  if place and place.state == 'w' then
    if spared[run] or tonumber(place.token) > began then
      return
    end
    queue(task, run, place, body)
    count = count + 1
  end
  stop_waiting(task, run) -- What a script that stopped half-way has left goes as well.
end

local function answer(done)
  return { count, string.format('%.0f', began), done, kind, cursor }
end

for i = first, #ARGV do
  local over
  repeat
    local page = redis.call('HSCAN', root .. ':' .. kind .. ':' .. ARGV[i], cursor, 'COUNT', 20)
    for j = 1, #page[2], 2 do
      promote(ARGV[i], page[2][j], page[2][j + 1])
      runs, bytes = runs + 1, bytes + #page[2][j + 1]
    end
    cursor = page[1]
    over = cursor == '0' and kind == 'pause'
    if cursor == '0' then
      kind = over and 'retry' or 'pause'
    end
    if runs >= most_runs or bytes >= most_bytes then
      return answer(i - first + (over and 1 or 0))
    end
  until over
end
return answer(#ARGV - first + 1)
