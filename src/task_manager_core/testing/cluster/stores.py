"""What a simulation needs from a store beyond the ports."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Clock


class CopyableStore(Protocol):
    """A store that can be wiped and set back to an older state. Restoring None empties it."""

    def copy_state(self) -> object: ...

    def restore_state(self, copy: object | None) -> None: ...


class SimStore(CopyableStore, Protocol):
    """A store that a plan is simulated on: opened once, wiped and set back as the plan wants."""

    def open(self, *, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]: ...
