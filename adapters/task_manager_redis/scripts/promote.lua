-- Needs runs.
-- Queue what has waited long enough, which wakes a waiting worker. Answer: milliseconds to the next one, -1 for none.
return promote(500)
