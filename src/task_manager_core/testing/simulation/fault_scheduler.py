"""Makes the faults of a simulation happen, and tells the pacing about each before it happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import next_slot_after
from task_manager_core.testing.cluster.cluster import SimCluster, SimProcess
from task_manager_core.testing.simulation.execution_log import ExecutionLog, FirstSlots
from task_manager_core.testing.simulation.fault_log import Absent, FaultLog
from task_manager_core.testing.simulation.faults import During, Fault, FaultKind
from task_manager_core.testing.simulation.naming import key_of_name
from task_manager_core.testing.simulation.pacing import Pacing

_RunOfSlot = tuple[TaskKey, datetime]
"""The task and the slot of a run."""


@dataclass(frozen=True, slots=True)
class _WaitingFault:
    """A fault that waits for the first execution of a run."""

    fault: Fault
    after: timedelta
    over: Callable[[], None]
    """Tells the pacing that the wait is over."""


class FaultScheduler:
    """Schedules the faults of one simulation. `begin` is the instant of virtual second 0."""

    def __init__(
        self, cluster: SimCluster, log: ExecutionLog, pacing: Pacing, first_slots: FirstSlots, begin: datetime
    ) -> None:
        self._cluster = cluster
        self._log = log
        self._pacing = pacing
        self._begin = begin
        self._waiting: dict[_RunOfSlot, list[_WaitingFault]] = {}
        self._tasks = {task.key: (task, first) for task, first in first_slots}
        self._unused: list[Fault] = []
        self.injected = FaultLog(lambda: log.instant(cluster.time))
        log.on_boot = self._booted
        log.on_end = lambda process: self.injected.back(("process", process))
        log.on_begin = self._run_began
        log.on_skip = self._run_skipped

    def schedule(self, faults: Sequence[Fault], start: datetime, end: datetime) -> None:
        """Schedule all of them. Errors: DefinitionError for a task that does not exist."""
        for fault in faults:
            if isinstance(fault.at, During):
                self._wait(fault, fault.at, end)
                continue
            at = start + fault.at if isinstance(fault.at, timedelta) else fault.at
            if start <= at < end:
                self._schedule_at(fault, (at - self._begin).total_seconds())
            else:
                self._unused.append(fault)

    def unused(self) -> tuple[Fault, ...]:
        """The faults that did not happen, or changed nothing."""
        waiting = (one.fault for row in self._waiting.values() for one in row)
        return (*self._unused, *waiting)

    def _wait(self, fault: Fault, during: During, end: datetime) -> None:
        key = key_of_name(self._tasks, during.task, "during")
        task, slot = self._tasks[key]
        for _ in range(during.nth - 1):
            slot = None if slot is None else next_slot_after(task, slot.slot)
        if slot is None or slot.slot >= end:
            self._unused.append(fault)
            return
        due = (slot.due_at - self._begin).total_seconds()
        waiting = _WaitingFault(fault, during.after, self._pacing.expect_some_time_after(due))
        self._waiting.setdefault((key, slot.slot), []).append(waiting)

    def _run_began(self, key: TaskKey, slot: datetime) -> None:
        for waiting in self._waiting.pop((key, slot), ()):
            waiting.over()
            self._schedule_at(waiting.fault, self._cluster.time + waiting.after.total_seconds(), (key, slot))

    def _run_skipped(self, key: TaskKey, slot: datetime) -> None:
        for waiting in self._waiting.pop((key, slot), ()):
            waiting.over()
            self._unused.append(waiting.fault)

    def _schedule_at(self, fault: Fault, at: float, run: _RunOfSlot | None = None) -> None:
        self._pacing.expect(at)
        if fault.lasting is not None:
            self._pacing.expect(at + fault.lasting.total_seconds())
        self._cluster.later(at - self._cluster.time, lambda: self._inject(fault, run))

    def _inject(self, fault: Fault, run: _RunOfSlot | None) -> None:
        """Make the fault happen. It is unused if its worker is dead or already stands still, or if nothing changes."""
        cluster, targets = self._cluster, self._targets(fault, run)
        until = None if fault.lasting is None else cluster.time + fault.lasting.total_seconds()
        if fault.kind is FaultKind.STORE_DOWN:
            hit: list[SimProcess] = []
            happened = (run is None or bool(targets)) and self._take_store_down(until)
        else:
            hit = [process for process in targets if self._hit(fault, process, until)]
            happened = bool(hit)
        if not happened:
            self._unused.append(fault)
            return
        absent: list[Absent] = []
        if fault.kind is FaultKind.PAUSE:
            absent = [("process", process.name) for process in hit]
        elif fault.kind in {FaultKind.KILL, FaultKind.STOP} and until is not None:
            absent = [("machine", process.machine) for process in hit]
        known_end = None if absent or until is None else self._log.instant(until)
        self.injected.add([process.name for process in hit], fault.kind.value, until=known_end, absent=absent)

    def _booted(self, machine: str) -> None:
        self._pacing.expect(self._cluster.time)  # a worker that was stopped may come back later than expected
        self.injected.back(("machine", machine))

    def _targets(self, fault: Fault, run: _RunOfSlot | None) -> list[SimProcess]:
        alive = self._cluster.alive()
        if run is not None:
            executing = self._log.executing(*run)
            return [process for process in alive if process.name == executing]
        if fault.worker == "all":
            return alive
        if fault.worker == "leader":
            return [process for process in alive if process.node.leads][:1]
        return [process for process in alive if process.machine == f"w{fault.worker}"]

    def _hit(self, fault: Fault, process: SimProcess, until: float | None) -> bool:
        """Make the fault happen to one process. False: it changes nothing."""
        cluster = self._cluster
        seconds = None if until is None else until - cluster.time
        match fault.kind:
            case FaultKind.KILL:
                cluster.kill(process.machine, seconds)
            case FaultKind.STOP:
                if process.stopping:
                    return False
                cluster.stop(process.machine, seconds)
            case FaultKind.PAUSE:
                if cluster.loop.is_paused(process.name):
                    return False
                cluster.pause(process.machine, seconds or 0.0)
                cluster.later(seconds or 0.0, lambda: self.injected.back(("process", process.name)))
            case FaultKind.PARTITION:
                link = cluster.link_faults[process.machine]
                if until is None or until <= link.requests_lost_until:
                    return False
                link.requests_lost_until = link.replies_lost_until = until
            case FaultKind.STORE_DOWN:
                raise AssertionError(fault)
        return True

    def _take_store_down(self, until: float | None) -> bool:
        if until is None or until <= self._cluster.store_faults.down_until:
            return False
        self._cluster.store_down(until - self._cluster.time)
        return True
