-- Needs runs.
-- ARGV: how many runs are spared, these runs, tasks. Answer: how many runs waited.
despite_full_memory()
local count, first = 0, 5 + ARGV[4]
local spared = {}
for i = 5, first - 1 do
  spared[ARGV[i]] = true
end
for i = first, #ARGV do
  for _, kind in ipairs({ 'retry', 'pause' }) do
    for _, run in ipairs(redis.call('HKEYS', root .. ':' .. kind .. ':' .. ARGV[i])) do
      if not spared[run] then
        redis.call('ZADD', waiting, steady(), ARGV[i] .. ' ' .. run)
        count = count + 1
      end
    end
  end
end
if count > 0 then
  promote(500) -- The others are due, and go with the next claims.
end
return count
