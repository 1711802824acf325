"""A simulated cluster in one thread: virtual time, a seeded order of events, and processes that pause, stop and die."""
