"""What watches a simulated cluster: the monitor of a campaign, or the execution log of a simulation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.events import Event
from task_manager_core.ports import Backend
from task_manager_core.testing.cluster.clock import StoreClock
from task_manager_core.testing.cluster.effects import Effect


class Watched(Protocol):
    """What a watcher may ask of its cluster."""

    store_clock: StoreClock
    policy: CurrentNodePolicy
    """The policy of every process."""

    @property
    def time(self) -> float:
        """Virtual seconds since the simulation began."""
        ...

    @property
    def backend(self) -> Backend:
        """The store itself, without a network."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the simulation with this error after the current step. The first error wins."""
        ...


class Watcher(Protocol):
    """Is told of everything that happens in a cluster.

    `process` is the name of a process: "w0", after a restart "w0#2".
    """

    def attach(self, cluster: Watched) -> None:
        """The cluster was made. Nothing has happened in it."""
        ...

    def booted(self, machine: str, node: Node, declarations: Declarations) -> None:
        """A process of this machine starts. Its node has sent nothing to the store."""
        ...

    def ended(self, process: str) -> None:
        """A process was killed, or has stopped."""
        ...

    def observe(self, process: str, operation: str, effects: Iterable[Effect]) -> None:
        """An operation took effect in the store, in this very step. `effects` are read from its answer, once."""
        ...

    def notice(self, process: str, event: Event) -> None:
        """The node of a process reported an event."""
        ...

    def note(self, source: str, text: str) -> None:
        """The cluster or a plan did something to a process or to the store."""
        ...

    def blocked(self, process: str, seconds: float) -> None:
        """A function blocks the event loop of a process for so long."""
        ...

    def unblocked(self, process: str) -> None:
        """The event loop of the process goes on."""
        ...

    def copy(self) -> object:
        """What the watcher knows of the store, when the store is copied."""
        ...

    def restore(self, copy: object) -> None:
        """The store was set back to the state in which `copy` was made. None: the store was wiped."""
        ...


class NullWatcher:
    """A watcher that does nothing; effects are not even read. Others inherit what they do not need."""

    def attach(self, cluster: Watched) -> None: ...
    def booted(self, machine: str, node: Node, declarations: Declarations) -> None: ...
    def ended(self, process: str) -> None: ...
    def observe(self, process: str, operation: str, effects: Iterable[Effect]) -> None: ...
    def notice(self, process: str, event: Event) -> None: ...
    def note(self, source: str, text: str) -> None: ...
    def blocked(self, process: str, seconds: float) -> None: ...
    def unblocked(self, process: str) -> None: ...
    def copy(self) -> object:
        return None

    def restore(self, copy: object) -> None: ...
