"""The in-process store: the embedded default, and the model that every other store is compared with.

Complete for the nodes of one event loop; forgets everything when the process ends.

The modules below this package are internal.
"""

from task_manager_memory.backend import MemoryStore, open_backend

__all__ = ["MemoryStore", "open_backend"]
