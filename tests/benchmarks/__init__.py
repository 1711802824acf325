"""Programs that measure and do not judge."""
