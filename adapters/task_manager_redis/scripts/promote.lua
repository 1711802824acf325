-- Queue what has waited long enough, so that a blocked worker is woken. Answer: milliseconds to the next one, -1 for none.
return promote(500)
