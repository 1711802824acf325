"""The world of a rehearsal: production nodes, the faults at their instants, and a chronicle of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import Event, TickFailed
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import NextSlot, next_slot_after
from task_manager_core.domain.policy import NodePolicy, Retention
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import DefinitionWrite, OpenBackend
from task_manager_core.testing.cluster.cluster import Declare, SimCluster, SimProcess
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.link import Latency, Link
from task_manager_core.testing.simulation.execution_log import ExecutionLog, Opening
from task_manager_core.testing.simulation.fault_log import FaultLog, Place
from task_manager_core.testing.simulation.faults import During, Fault, FaultKind
from task_manager_core.testing.simulation.naming import the_task
from task_manager_core.testing.simulation.pacing import Pacing

_TOLD = frozenset({"campaign", "commit", "put", "settle", "release", "reap"})
"""The operations that a chronicle is written of."""


class RecordedCluster(SimCluster):
    """A world that judges nothing and writes everything down."""

    def __init__(
        self,
        *,
        chronicle: ExecutionLog,
        open_backend: OpenBackend,
        declare: Declare,
        policy: NodePolicy,
        retention: Retention,
        start: datetime,
        latency: Latency,
    ) -> None:
        super().__init__(
            open_backend=open_backend,
            declare=declare,
            policy=policy,
            retention=retention,
            start=start,
            latency=latency,
            keep_lines=0,
        )
        self.chronicle = chronicle
        self.on_boot: Callable[[str], None] = lambda _machine: None
        self.on_free: Callable[[str], None] = lambda _life: None
        """A life that stood still goes on, or is over."""

    def observe(self, channel: Link, operation: str, facts: Iterable[Effect]) -> None:  # noqa: ARG002 - as the world
        """What took effect, whatever the node that asked for it will hear."""
        if operation in _TOLD:
            for fact in facts:
                self.chronicle.enter(fact)

    def noticed(self, life: str, event: Event) -> None:
        """Errors that no fault explains."""
        if isinstance(event, TickFailed) and not isinstance(event.error, (BackendError, TimeoutError)):
            self.chronicle.errors[f"{event.service} of {life}: {event.error!r}"] = None

    def boot(self, machine: str) -> SimProcess:
        life = super().boot(machine)
        self.on_boot(machine)
        return life

    def pause(self, machine: str, seconds: float) -> None:
        super().pause(machine, seconds)
        life = self.processes[machine].name
        self.later(seconds, lambda: self.on_free(life))

    def _bury(self, life: SimProcess) -> None:
        super()._bury(life)
        self.chronicle.died(life.name)
        self.on_free(life.name)

    async def add(self, opening: Opening) -> None:
        """Write the tasks to the store, as they stand there when the period begins."""
        definitions = [
            DefinitionWrite(definition=task, expected=0, replan=True, next_slot=plan) for task, plan in opening
        ]
        if definitions:
            await self.backend.catalogue.put(definitions)


_MICROSECOND = timedelta(microseconds=1)

_RunName = tuple[TaskKey, datetime]
"""The task and the slot of a run."""


def first_slot(task: TaskDefinition, start: datetime) -> NextSlot | None:
    """The first slot from `start` on: `start` itself for a task that runs on start."""
    if task.run_on_start and task.schedule.holds(start):
        return NextSlot(slot=start, due_at=start)
    return next_slot_after(task, start - _MICROSECOND)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A fault that waits for its occasion."""

    fault: Fault
    after: timedelta
    happened: Callable[[], None]


class FaultScheduler:
    """Makes faults happen, and tells the tide before."""

    def __init__(self, stage: RecordedCluster, tide: Pacing, opening: Opening, begin: datetime) -> None:
        self._stage = stage
        self._tide = tide
        self._begin = begin
        """The instant of virtual second 0."""
        self._pending: dict[_RunName, list[_Pending]] = {}
        self._opening = {task.key: (task, plan) for task, plan in opening}
        self.unused: list[Fault] = []
        self.marks = FaultLog(lambda: stage.chronicle.instant(stage.time))
        stage.on_boot = self._booted
        stage.on_free = lambda life: self.marks.back(("life", life))
        stage.chronicle.on_begin = self._began
        stage.chronicle.on_skip = self._skipped

    def plan(self, faults: Sequence[Fault], start: datetime, end: datetime) -> None:
        """Set them all. Errors: DefinitionError for a task that does not exist."""
        for fault in faults:
            if isinstance(fault.at, During):
                self._await(fault, fault.at, end)
                continue
            at = start + fault.at if isinstance(fault.at, timedelta) else fault.at
            if start <= at < end:
                self._expect(fault, (at - self._begin).total_seconds())
            else:
                self.unused.append(fault)

    def left(self) -> tuple[Fault, ...]:
        """The faults that had no occasion."""
        waiting = (pending.fault for row in self._pending.values() for pending in row)
        return (*self.unused, *waiting)

    def _await(self, fault: Fault, during: During, end: datetime) -> None:
        key = the_task(self._opening, during.task, "during")
        task, plan = self._opening[key]
        for _ in range(during.nth - 1):
            plan = None if plan is None else next_slot_after(task, plan.slot)
        if plan is None or plan.slot >= end:
            self.unused.append(fault)
            return
        due = (plan.due_at - self._begin).total_seconds()
        pending = _Pending(fault, during.after, self._tide.await_from(due))
        self._pending.setdefault((key, plan.slot), []).append(pending)

    def _began(self, key: TaskKey, slot: datetime) -> None:
        for pending in self._pending.pop((key, slot), ()):
            pending.happened()
            self._expect(pending.fault, self._stage.time + pending.after.total_seconds(), (key, slot))

    def _skipped(self, key: TaskKey, slot: datetime) -> None:
        for pending in self._pending.pop((key, slot), ()):
            pending.happened()
            self.unused.append(pending.fault)

    def _expect(self, fault: Fault, at: float, run: _RunName | None = None) -> None:
        self._tide.expect(at)
        if fault.lasting is not None:
            self._tide.expect(at + fault.lasting.total_seconds())
        self._stage.later(at - self._stage.time, lambda: self._strike(fault, run))

    def _strike(self, fault: Fault, run: _RunName | None) -> None:
        """A fault that changes nothing, of a worker that is gone or stands still already, has had no occasion."""
        stage, meant = self._stage, self._meant(fault, run)
        until = None if fault.lasting is None else stage.time + fault.lasting.total_seconds()
        if fault.kind is FaultKind.STORE_DOWN:
            struck: list[SimProcess] = []
            happens = (run is None or bool(meant)) and self._take_down(until)
        else:
            struck = [life for life in meant if self._hit(fault, life, until)]
            happens = bool(struck)
        if not happens:
            self.unused.append(fault)
            return
        away: list[Place] = []
        if fault.kind is FaultKind.PAUSE:
            away = [("life", life.name) for life in struck]
        elif fault.kind in {FaultKind.KILL, FaultKind.STOP} and until is not None:
            away = [("machine", life.machine) for life in struck]
        known = None if away or until is None else stage.chronicle.instant(until)
        self.marks.put([life.name for life in struck], fault.kind.value, until=known, away=away)

    def _booted(self, machine: str) -> None:
        self._tide.expect(self._stage.time)  # whoever was stopped may be back later than was expected
        self.marks.back(("machine", machine))

    def _meant(self, fault: Fault, run: _RunName | None) -> list[SimProcess]:
        alive = self._stage.alive()
        if run is not None:
            executing = self._stage.chronicle.executing(*run)
            return [life for life in alive if life.name == executing]
        if fault.worker == "all":
            return alive
        if fault.worker == "leader":
            return [life for life in alive if life.node.leads][:1]
        return [life for life in alive if life.machine == f"w{fault.worker}"]

    def _hit(self, fault: Fault, life: SimProcess, until: float | None) -> bool:
        """Let it happen; the answer is whether it changes anything."""
        stage = self._stage
        seconds = None if until is None else until - stage.time
        match fault.kind:
            case FaultKind.KILL:
                stage.kill(life.machine, seconds)
            case FaultKind.STOP:
                if life.stopping:
                    return False
                stage.stop(life.machine, seconds)
            case FaultKind.PAUSE:
                if stage.loop.is_paused(life.name):
                    return False
                stage.pause(life.machine, seconds or 0.0)
            case FaultKind.PARTITION:
                weather = stage.link_faults[life.machine]
                if until is None or until <= weather.requests_lost_until:
                    return False
                weather.requests_lost_until = weather.replies_lost_until = until
            case FaultKind.STORE_DOWN:
                raise AssertionError(fault)
        return True

    def _take_down(self, until: float | None) -> bool:
        if until is None or until <= self._stage.store_faults.down_until:
            return False
        self._stage.store_down(until - self._stage.time)
        return True
