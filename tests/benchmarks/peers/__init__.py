"""Drivers of other systems. Each runs in an environment of its own, see `environments`."""
