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
    """A store for a plan. It is opened once; the plan may wipe it and set it back."""

    def open(self, *, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]: ...
