"""A watcher is told of everything that happens in a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.effects import Effect, Granted
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_core.testing.cluster.watcher import NullWatcher
from task_manager_memory import MemoryStore


class Recording(NullWatcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def booted(self, machine: str, node: Node, declarations: Declarations) -> None:
        del declarations
        self.lines.append(f"{machine} booted {node.id.value}")

    def ended(self, process: str) -> None:
        self.lines.append(f"{process} ended")

    def observe(self, process: str, operation: str, effects: Iterable[Effect]) -> None:
        self.lines += [f"{process} {operation} granted" for effect in effects if isinstance(effect, Granted)]

    def copy(self) -> object:
        return len(self.lines)

    def restore(self, copy: object) -> None:
        self.lines.append(f"restored {copy}")


def test_a_watcher_is_told_of_processes_effects_and_the_state_of_the_store() -> None:
    watcher, store = Recording(), MemoryStore()

    async def main() -> None:
        async with SimCluster(
            open_backend=store.open, declare=lambda *_: None, watcher=watcher, store=store
        ) as cluster:
            cluster.boot("w0")
            await cluster.sleep(5.0)
            copy = cluster.copy_store()
            cluster.kill("w0")
            cluster.restore_store(copy)
            cluster.restore_store(None)
            cluster.boot("w0")

    run_simulation(main, Decider())
    assert watcher.lines == [
        "w0 booted w0",
        "w0 campaign granted",
        "w0 ended",
        "restored 2",
        "restored None",
        "w0 booted w0#2",
    ]
