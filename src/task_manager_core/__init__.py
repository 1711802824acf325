"""The core of the task manager: rules, ports and use cases. Knows no store, no web framework and no clock."""
