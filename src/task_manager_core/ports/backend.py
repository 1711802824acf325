"""A backend: the ports of one store together, and the function that opens it.

To write another backend, implement the ports, write an `OpenBackend`, and run the conformance suite on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.policy import Retention
from task_manager_core.ports.catalogue import Catalogue
from task_manager_core.ports.clock import Clock
from task_manager_core.ports.dispatch import Dispatch
from task_manager_core.ports.history import History
from task_manager_core.ports.leadership import Leadership
from task_manager_core.ports.membership import Membership
from task_manager_core.ports.notifier import Notifier
from task_manager_core.ports.run_queue import RunQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do beyond the laws.

    Attributes:
        durable: The content of the store survives the end of the process that opened it. Such a store can be opened
            again at the same time, in the event loop of another thread.
        extends_in_threads: `RunQueue.extend` may be called in any thread, beside the other verbs. A store that is not
            durable says so if it can.
    """

    durable: bool
    extends_in_threads: bool = False


def _nothing() -> tuple[BackendCorrupt, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One open store. The nodes of one event loop may share it, because every verb names the node that acts.

    Attributes:
        name: The name of the store for people, as in logs.
        capabilities: What the store can do beyond the laws.
        unreadable: Returns the errors of the stored values that could not be read since the last call, each value once.
            A newer release wrote such a value, or it is damaged.

    Laws of all verbs:

    1. Two tasks or two nodes whose names differ share nothing, however alike they look.
    2. Every instant that a verb answers is in whole milliseconds.
    3. Every live run is in exactly one place: held, queued, running or waiting.
    4. A verb is one step for each item of its batch: of two verbs at the same time, one has its whole effect before
       the other.
    5. Every item of a batch is judged on its own, for any number of items; an item that is named twice counts once.
    6. A verb that was answered may be called again with the same arguments, and changes nothing more; only `claim`
       gives more, and only the progress of a term advances again.
    7. An item that does not exist is left out of the answer and changes nothing, and so does an empty batch.
    8. A verb answers in time, also while other verbs run; a verb that waits answers at the end of its wait.
    9. A stored value that cannot be read makes no verb fail and hides no other value: its run is postponed without
       a failure or a loss, its node stays among the living nodes, its definition is named.
    10. A claim that another thread extends, through an opening of its own if the store is durable, lives as if its
       worker had extended it.
    """

    name: str
    capabilities: Capabilities
    leadership: Leadership
    catalogue: Catalogue
    dispatch: Dispatch
    queue: RunQueue
    history: History
    membership: Membership
    notifier: Notifier
    unreadable: Callable[[], Collection[BackendCorrupt]] = _nothing


ReopenBackend = Callable[[], AbstractAsyncContextManager[Backend]]
"""Opens a durable store once more, with the clock and the retention of the first opening."""


class OpenBackend(Protocol):
    """A function that opens a store for as long as its context lasts.

    Entering the context must not fail because the store is away: the verbs raise BackendUnavailable until the store is
    back. The verbs of a store that can never work raise BackendMisconfigured.
    """

    def __call__(self, *, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]:
        """Open the store.

        Args:
            clock: The time of a store without a time of its own. A store with its own time (a server) ignores it.
            retention: How much history the store keeps.

        Returns:
            An async context manager. Its value is the open store; leaving it closes the store.
        """
        ...
