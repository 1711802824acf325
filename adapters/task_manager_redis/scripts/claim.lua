-- Needs runs.
-- ARGV: worker, limit, whether the worker says what it knows (0, 1), then what it knows: priority, entry.
-- Answer: milliseconds to the next waiting run (-1: none), per claim: priority, entry, its fields; and how many foreign
-- entries were found and dropped.
local worker, limit = ARGV[4], tonumber(ARGV[5])
local claims, foreign = {}, 0
despite_full_memory()
open_streams()

local function give(priority, id, fields)
  if is_run(fields) then
    claims[#claims + 1] = { priority, id, fields }
  else
    take(priority, id)
    foreign = foreign + 1
  end
end

if ARGV[6] == '1' then
  local known, count = {}, 0
  for i = 7, #ARGV, 2 do
    known[ARGV[i] .. ' ' .. ARGV[i + 1]] = true
    count = count + 1
  end
  for _, priority in ipairs(PRIORITIES) do
    for _, held in ipairs(redis.call('XPENDING', streams[priority], GROUP, '-', '+', limit + count, worker)) do
      local fields = #claims < limit and not known[priority .. ' ' .. held[1]] and entry(priority, held[1])
      if fields then
        give(priority, held[1], fields)
      end
    end
  end
end

foreign = 0 -- Those above were said when they were read, unless that answer was lost.
local following = promote(500)
for _, priority in ipairs(PRIORITIES) do
  local left = limit - #claims
  local read = left > 0
    and redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', left, 'STREAMS', streams[priority], '>')
  for _, item in ipairs(read and read[1][2] or {}) do
    give(priority, item[1], item[2])
  end
end
return { following, claims, foreign }
