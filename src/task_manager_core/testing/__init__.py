"""Shipped tools for tests: what a store, a scheduler and a task are judged by. Nothing else imports this."""
