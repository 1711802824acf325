"""The management API over HTTP. Each route is a few lines round a use case of the core."""
