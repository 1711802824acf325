"""What people ask when something went wrong: about a slot of the past, about one run, about the processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from task_manager_core.domain.errors import RunNotFound, TaskNotFound
from task_manager_core.domain.explain import Explanation
from task_manager_core.domain.explain_slot import Recorded, SlotExplanation, explain_run, explain_slot
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.leadership import LeaderSign
from task_manager_core.domain.observation import LiveRun, Snapshot, TaskView
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.recurrence import calendar_instant
from task_manager_core.domain.run import AttemptRecord, RunState
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import Backend

LINES_SEARCHED, SKIPS_SEARCHED = 1_000, 1_000
"""The newest lines and skips that an answer about the past reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStory:
    """A run: its attempts that have ended, the oldest first, and its state while it lives."""

    key: TaskKey
    run: RunId
    live: LiveRun | None
    progress: Progress | None
    attempts: tuple[AttemptRecord, ...]

    @property
    def slot(self) -> datetime | None:
        return self.attempts[0].slot if self.live is None else self.live.slot

    @property
    def state(self) -> str:
        """The state of a live run, or the status of the last attempt."""
        return self.attempts[-1].status.value if self.live is None else self.live.state.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """The living nodes and the queue (in the snapshot, which names no task), the leader, and the store."""

    snapshot: Snapshot
    sign: LeaderSign
    store: str
    durable: bool


class Inspection:
    """Reads what the store knows and has recorded, and changes nothing."""

    def __init__(self, *, backend: Backend, definition: Callable[[TaskKey], VersionedDefinition]) -> None:
        self._backend = backend
        self._definition = definition

    async def explain_slot(self, key: TaskKey, slot: datetime) -> SlotExplanation:
        """What was decided about a slot of a task, and why. Errors: TaskNotFound; InvalidPolicy for an instant outside
        the calendar."""
        slot = calendar_instant("at", slot)
        stored, view, snapshot, records = await self._recorded(key)
        return explain_slot(stored.definition, view, snapshot, records, slot)

    async def explain_run(self, key: TaskKey, run: RunId) -> Explanation:
        """How far a run has come. Errors: TaskNotFound; RunNotFound if the store has no record of it."""
        stored, view, snapshot, records = await self._recorded(key)
        found = explain_run(stored.definition, view, snapshot, records, run)
        if found is None:
            raise RunNotFound(run.value)
        return found

    async def _recorded(self, key: TaskKey) -> tuple[VersionedDefinition, TaskView, Snapshot, Recorded]:
        """What the store knows of a task now, and what it has recorded. The records are read last: a run that ends
        meanwhile is in both."""
        stored, history = self._definition(key), self._backend.history
        snapshot = await history.snapshot([key])
        lines = (await history.recent([key], LINES_SEARCHED)).get(key)
        skips = await history.skips(key, SKIPS_SEARCHED)
        if not snapshot.tasks or lines is None:
            raise TaskNotFound(key.group, key.name)
        return stored, snapshot.tasks[0], snapshot, Recorded(lines=lines, skips=skips)

    async def run(self, key: TaskKey, run: RunId) -> RunStory:
        """A run with its attempts, and what it does if it lives. Errors: TaskNotFound; RunNotFound."""
        self._definition(key)
        history = self._backend.history
        tasks = (await history.snapshot([key])).tasks
        live = next((one for one in (tasks[0].live if tasks else ()) if one.run == run), None)
        progress = None
        if live is not None and live.state is RunState.RUNNING:
            [progress] = await history.progress([(key, run)])
        # The lines are read last: a run that ends meanwhile is in both.
        lines = await history.read(key, LINES_SEARCHED)
        attempts = tuple(line for line in reversed(lines) if line.run == run)
        if live is None and not attempts:
            raise RunNotFound(run.value)
        return RunStory(key=key, run=run, live=live, progress=progress, attempts=attempts)

    async def cluster(self) -> ClusterState:
        """The living nodes, the leader and the store."""
        snapshot = await self._backend.history.snapshot(())
        sign = await self._backend.leadership.observe()
        backend = self._backend
        return ClusterState(snapshot=snapshot, sign=sign, store=backend.name, durable=backend.capabilities.durable)
