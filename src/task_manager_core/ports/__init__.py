"""What the rules need from the world. Each port is a set of atomic promises; its docstring is its law.

Every verb takes the store's time, in whole milliseconds; no length of time is cut to less. The clock of a store may be
set: slots are instants by that clock, and lengths of time go on as if it had not been set back. Losing a race is an
answer.
An exception means "unknown": asking again with the same arguments is always safe.
"""

from task_manager_core.ports.backend import Backend, Capabilities, OpenBackend
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
    "RunQueue",
]
