"""Campaigns: plans with tasks and faults, a monitor that checks the guarantees, and what must have been covered."""
