-- Needs runs.
-- Queue the runs whose wait is over, and wake a worker if a stream has items.
-- Answer: milliseconds until the next waiting run is due, -1 if none waits.
local next_wait = promote_due()
wake_for_queued()
return next_wait
