"""Tools for tests, shipped with the package. Nothing but tests imports them.

- `conformance`: the laws that every store must keep. Needs the extra `testing`.
- `cluster`: production nodes in one thread, in virtual time, with faults.
- `campaign`: many plans with faults on such a cluster; a monitor checks the guarantees.
- `simulation`: the schedule of an application on such a cluster, with a report.
- `stepping`: a node without loops, for `TaskManager.testing`, which runs an application on a clock that a test moves.
- `ManualClock` and `Recorder`: a clock and an observer for tests of your own.

The modules below this package are internal, except for the paths that docs/reference/index.md lists.
"""

from task_manager_core.testing.clock import ManualClock
from task_manager_core.testing.recorder import Recorder

__all__ = ["ManualClock", "Recorder"]
