-- Needs runs.
-- Queue what has waited long enough, which wakes a blocked worker. Answer: milliseconds to the next one, -1 for none.
return promote(500)
