"""The ports: the interfaces between the rules and a store, a clock and an observer.

The methods of a port are its *verbs*. Each verb is atomic. The numbered sentences in the docstring of a port are its
*laws*, and the conformance suite has one test for each of them.

Time. Every verb goes by the time of the store. Instants are aware datetimes in UTC, and lengths of time are timedeltas;
a store keeps both in whole milliseconds and never shortens a length. An operator may set the clock of a store back:
slots are instants by that clock, and a length of time still ends as if the clock had not been set back.

Answers and errors. Losing a race is an answer of a verb (`Fenced`, `Conflict`, `False`, …) and no error. Every verb of
a store may raise three errors:

* `BackendUnavailable`: there was no answer. The call may have taken effect; repeating it with the same arguments is
  always safe.
* `BackendMisconfigured`: the store answers, but it cannot be used as it is set up.
* `BackendCorrupt`: the structure of the store is damaged. A single stored value that cannot be read raises nothing
  (law 9 of `Backend`).

The modules below this package are stable: the changelog announces a change of their names.
"""

from task_manager_core.ports.backend import Backend, Capabilities, OpenBackend, ReopenBackend
from task_manager_core.ports.catalogue import CHANGES_REMEMBERED, Catalogue, Changes, Conflict, DefinitionWrite
from task_manager_core.ports.clock import Clock
from task_manager_core.ports.dispatch import Dispatch
from task_manager_core.ports.history import History
from task_manager_core.ports.leadership import Leadership
from task_manager_core.ports.membership import Membership
from task_manager_core.ports.notifier import Notifier
from task_manager_core.ports.observer import Observer
from task_manager_core.ports.run_queue import (
    REPEAT_MEMORY,
    REQUEST_MEMORY,
    AskedOtherwise,
    Cancelling,
    Enqueued,
    Extension,
    RunQueue,
)

__all__ = [
    "CHANGES_REMEMBERED",
    "REPEAT_MEMORY",
    "REQUEST_MEMORY",
    "AskedOtherwise",
    "Backend",
    "Cancelling",
    "Capabilities",
    "Catalogue",
    "Changes",
    "Clock",
    "Conflict",
    "DefinitionWrite",
    "Dispatch",
    "Enqueued",
    "Extension",
    "History",
    "Leadership",
    "Membership",
    "Notifier",
    "Observer",
    "OpenBackend",
    "ReopenBackend",
    "RunQueue",
]
