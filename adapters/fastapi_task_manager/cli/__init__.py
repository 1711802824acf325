"""The command `task-manager`: workers without a web server, and their probes."""
