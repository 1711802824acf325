-- ARGV: worker, limit, whether the worker says what it knows (0, 1), then what it knows: priority, entry.
-- Answer: milliseconds to the next waiting run (-1: none), and per claim: priority, entry, its fields.
local worker, limit = ARGV[4], tonumber(ARGV[5])
local claims = {}
open_streams()

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
        claims[#claims + 1] = { priority, held[1], fields }
      end
    end
  end
end

local following = promote(500)
for _, priority in ipairs(PRIORITIES) do
  local left = limit - #claims
  local read = left > 0
    and redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', left, 'STREAMS', streams[priority], '>')
  for _, item in ipairs(read and read[1][2] or {}) do
    claims[#claims + 1] = { priority, item[1], item[2] }
  end
end
return { following, claims }
