"""A store: the ports it fills, bundled, and how one is opened.

To write another backend, fill these ports, write an `OpenBackend`, and run the conformance suite on it.
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
    """What a store can do beyond the laws. `durable`: survives the end of the process that opened it."""

    durable: bool


def _nothing() -> tuple[BackendCorrupt, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One open store. Safe to share between the nodes of one event loop: every verb names its actor.

    `unreadable` takes the errors of the stored values that could not be read (a newer release wrote them, or they are
    damaged) since it was last asked, each value once.

    Laws of all its verbs:

    1. Two tasks or two nodes whose names differ share nothing, however alike they look.
    2. Every instant that a verb answers is in whole milliseconds.
    3. Every live run is in exactly one place: held, queued, running or waiting.
    4. A verb is one step for each item of its batch: of two at the same time, one has its whole effect before the
       other.
    5. Every item of a batch is judged on its own, however many there are; one that is named twice counts once.
    6. A verb that was answered may be asked again with the same arguments, and changes nothing more; only a claim
       gives more.
    7. What does not exist is left out of the answer and changes nothing, and so does an empty batch.
    8. A verb answers in time, also amid others; one that waits answers at the end of its wait.
    9. A stored value that cannot be read fails no verb and hides no other: its run goes back for later without a
       failure or a loss, its node stays among the living, its definition is named.
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


class OpenBackend(Protocol):
    """Opens a store for as long as the context lasts.

    `clock` is the time of a store without a time of its own; a store with one (a server) ignores it. Entering must not
    fail because the store is away: the verbs say BackendUnavailable until it is back. A store that can never work
    says BackendMisconfigured from its verbs.
    """

    def __call__(self, *, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]: ...
