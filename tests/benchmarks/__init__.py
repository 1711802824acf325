"""Programs that measure. They do not judge the figures."""
