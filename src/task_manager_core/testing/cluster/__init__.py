"""A cluster in one thread: virtual time, a seeded order of events, and processes that stop, continue and die."""
