-- Needs runs.
-- Queue what has waited long enough, and wake a waiting worker if anything is queued. Answer: milliseconds to the next
-- one, -1 for none.
local following = promote()
for _, stream in pairs(streams) do
  if redis.call('XLEN', stream) > 0 then
    despite_full_memory()
    knock()
  end
end
return following
