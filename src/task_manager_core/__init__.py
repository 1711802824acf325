"""The core of the task manager: rules, ports and use cases. Knows no store, no web framework and no clock."""

__version__ = "0.1.0"
