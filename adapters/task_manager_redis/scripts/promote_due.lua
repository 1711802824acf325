-- Needs runs.
-- Queue the runs whose wait is over, and wake a worker if a stream has items.
-- Answer: milliseconds until the next waiting run is due, -1 if none waits.
local next_wait = promote_due()
for _, stream in pairs(streams) do
  if redis.call('XLEN', stream) > 0 then
    allow_oom()
    wake_worker()
  end
end
return next_wait
