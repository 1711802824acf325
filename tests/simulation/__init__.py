"""The simulated cluster: virtual time, chance and faults."""
