"""Shipped tools for tests: what a store, a scheduler and a task are judged by. Nothing else imports this.

`ManualClock` and `Recorder` need nothing. `conformance` and `simulation` need the extra `testing`.

The modules below this package are internal, except for the paths that docs/reference/index.md lists.
"""

from task_manager_core.testing.clock import ManualClock
from task_manager_core.testing.recorder import Recorder

__all__ = ["ManualClock", "Recorder"]
