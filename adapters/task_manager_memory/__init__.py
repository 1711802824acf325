"""The store in memory: the default of a single process, and the model with which every other store is compared.

It serves all nodes of one event loop. Its contents are lost when the process ends.

The modules below this package are internal.
"""

from task_manager_memory.backend import MemoryStore, open_backend

__all__ = ["MemoryStore", "open_backend"]
