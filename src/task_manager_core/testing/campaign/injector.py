"""Makes the faults of a plan happen in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from task_manager_core.application.control import Control
from task_manager_core.application.node import Node
from task_manager_core.application.requested_runs import RunOptions
from task_manager_core.domain.errors import BackendError, BackendUnavailable, DefinitionError, RefusedError
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.testing.campaign.faults import PEOPLE, Injection, InjectionKind, Point
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.campaign.plan import TaskPlan, key_of
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.link import Action, Link, Side
from task_manager_core.testing.cluster.process import ENVIRONMENT

MOST_REQUESTS = 4
"""A person whose request is not answered sends it again, at most so often in all, with the same request id."""

_ONLY_SIDE = {InjectionKind.ERROR: Side.BEFORE, InjectionKind.LOSE: Side.AFTER}
"""An error happens before the effect, and a reply is lost after it, whichever side the plan names."""


class Injector:
    """The faults of one plan. After `end` none happens any more."""

    def __init__(self, faults: Sequence[Injection], tasks: Sequence[TaskPlan], monitor: Monitor) -> None:
        self.active = True
        self.blocks: dict[str, float] = {}
        """Seconds for which the next function that a machine calls blocks."""
        self._tasks = tasks
        self._monitor = monitor
        self._timed = sorted(
            ((fault.at, index, fault) for index, fault in enumerate(faults) if not isinstance(fault.at, Point)),
            key=lambda entry: entry[:2],
        )
        self._points: dict[tuple[str, str, int, Side], list[tuple[int, Injection]]] = {}
        for index, fault in enumerate(faults):
            if isinstance(fault.at, Point):
                side = _ONLY_SIDE.get(fault.kind, fault.at.side)
                place = (f"w{fault.machine}", fault.at.operation, fault.at.nth, side)
                self._points.setdefault(place, []).append((index, fault))

    def end(self) -> None:
        """No fault happens any more."""
        self.active = False
        self.blocks.clear()

    def start(self, cluster: SimCluster) -> None:
        """Set the timers of the timed faults."""
        for at, index, fault in self._timed:
            if fault.kind is InjectionKind.REWIND:
                cluster.loop.spawn(ENVIRONMENT, self._rewind(cluster, fault, at))
            else:
                cluster.loop.spawn(ENVIRONMENT, self._inject_at(cluster, at, index, fault))

    def points(self, cluster: SimCluster) -> Callable[[Link, str, int, Side], Collection[Action]]:
        """The faults at code points, for the cluster."""

        def at_point(link: Link, operation: str, nth: int, side: Side) -> Collection[Action]:
            found = self._points.get((link.machine, operation, nth, side), ())
            return [partial(self._inject, cluster, index, fault) for index, fault in found if self.active]

        return at_point

    async def _inject_at(self, cluster: SimCluster, at: float, index: int, fault: Injection) -> None:
        await asyncio.sleep(at)
        if self.active:
            await self._inject(cluster, index, fault)

    async def _rewind(self, cluster: SimCluster, fault: Injection, at: float) -> None:
        await asyncio.sleep(max(0.0, at - fault.length))
        copy = cluster.copy_store()
        await asyncio.sleep(at - cluster.time)
        if self.active:
            self._monitor.coverage.count(f"fault: {fault.kind.value}")
            cluster.restore_store(copy)

    async def _inject(self, cluster: SimCluster, index: int, fault: Injection) -> None:
        if not self.active:  # The machine stood still between two faults at one point, and continued after the end.
            return
        self._monitor.coverage.count(f"fault: {fault.kind.value}")
        self._monitor.note("plan", str(fault))
        if fault.kind in PEOPLE:
            await self._send(cluster, index, fault)
        elif isinstance(fault.at, Point) and fault.kind in _ONLY_SIDE:
            raise BackendUnavailable(fault.kind.value)
        else:
            self._apply(cluster, fault)
            if isinstance(fault.at, Point) and fault.kind in {InjectionKind.KILL, InjectionKind.PAUSE}:
                await asyncio.sleep(0)  # the step of the machine ends here; a dead machine never continues

    def _apply(self, cluster: SimCluster, fault: Injection) -> None:  # noqa: C901, PLR0912 - one line for each kind
        machine, now = f"w{fault.machine}", cluster.time
        link = cluster.link_faults[machine]
        restart = fault.length or None
        match fault.kind:
            case InjectionKind.SLOW:
                link.slow_until, link.slowness = now + fault.length, fault.amount
            case InjectionKind.ERROR:
                link.fail_next = True
            case InjectionKind.LOSE:
                link.lose_next = True
            case InjectionKind.CUT:
                link.requests_lost_until = link.replies_lost_until = now + fault.length
            case InjectionKind.MUTE:
                link.requests_lost_until = now + fault.length
            case InjectionKind.DEAF:
                link.replies_lost_until = now + fault.length
            case InjectionKind.QUIET:
                link.notifications_lost_until = now + fault.length
            case InjectionKind.KILL:
                cluster.kill(machine, restart)
            case InjectionKind.PAUSE:
                cluster.pause(machine, fault.length)
            case InjectionKind.BLOCK:
                self.blocks[machine] = fault.length
            case InjectionKind.JUMP:
                cluster.processes[machine].clock.jump(fault.amount)
            case InjectionKind.DRIFT:
                cluster.processes[machine].clock.drift(1.0 + fault.amount)
            case InjectionKind.STOP:
                cluster.stop(machine, restart)
            case InjectionKind.DOWN:
                cluster.store_down(fault.length)
            case InjectionKind.WIPE:
                cluster.restore_store(None)
            case InjectionKind.SET_BACK:
                cluster.store_clock.set_back(fault.amount)
            case InjectionKind.REWIND:
                copy = cluster.copy_store()
                cluster.later(0.0, lambda: cluster.restore_store(copy))
            case _:
                raise AssertionError(fault)

    async def _send(self, cluster: SimCluster, index: int, fault: Injection) -> None:
        """A person sends a request, to the machine of the fault, or to another one if it is dead."""
        machine = f"w{fault.machine}"
        if cluster.process(machine) is None:
            alive = cluster.alive()
            if not alive:
                return
            machine = alive[0].machine
        await cluster.on(machine, lambda node: self._request_until_answered(cluster, node, index, fault))

    async def _request_until_answered(self, cluster: SimCluster, node: Node, index: int, fault: Injection) -> None:
        for _ in range(MOST_REQUESTS):
            try:
                await self._request(cluster, node, index, fault)
            except BackendError:
                continue
            except (RefusedError, DefinitionError) as refused:
                self._monitor.note(node.id.value, f"refused: {refused}")
            return

    def _request(  # noqa: PLR0911 - one line for each request
        self, cluster: SimCluster, node: Node, index: int, fault: Injection
    ) -> Coroutine[Any, Any, object]:
        place = fault.task % len(self._tasks)
        key, control = key_of(place), node.control
        match fault.kind:
            case InjectionKind.DISABLE:
                return self._disable(cluster, node, fault)
            case InjectionKind.ENABLE:
                return control.resume([key])
            case InjectionKind.TRIGGER:
                return self._trigger(control, key, index, fault)
            case InjectionKind.RESET:
                return control.reset_retry([key])
            case InjectionKind.CANCEL:
                task = self._monitor.model.store.tasks.get(key)
                runs = [] if task is None else [*task.live, *(held.run.id for held in task.held)]
                chosen = index % len(runs) if runs else 0
                return control.cancel([(key, run) for run in runs[chosen : chosen + 1]])
            case InjectionKind.ADD:
                return control.add(self._tasks[place].task(place))
            case InjectionKind.CHANGE:
                return self._change(node, place, index)
            case InjectionKind.REMOVE:
                return control.remove(key)
            case InjectionKind.LATER:
                return self._request_later(control, key, f"request {index}", fault)
            case _:
                raise AssertionError(fault)

    def _trigger(self, control: Control, key: TaskKey, index: int, fault: Injection) -> Coroutine[Any, Any, object]:
        if fault.amount:
            return self._request_twice(control, key, f"shared {index % 2}")
        return control.trigger([key], f"request {index}")

    async def _request_later(self, control: Control, key: TaskKey, request: str, fault: Injection) -> None:
        delay = timedelta(seconds=fault.length)
        expires = timedelta(seconds=fault.amount) if fault.amount else None
        self._monitor.asked_for_later(RunId.of_request(key, request), delay, own_expiry=expires is not None)
        options = RunOptions(start=delay, expires=expires)
        await control.requested_runs.queue(control.definition(key), request, options=options)

    async def _request_twice(self, control: Control, key: TaskKey, request: str) -> None:
        """Send two requests with one id. The second is refused, and so is the first if an earlier fault used the id."""
        for order in (1, 2):
            await control.trigger([key], request, {"order": order})

    async def _disable(self, cluster: SimCluster, node: Node, fault: Injection) -> None:
        await node.control.pause([key_of(fault.task % len(self._tasks))])
        if fault.length:
            enabling = replace(fault, kind=InjectionKind.ENABLE, at=cluster.time + fault.length, length=0.0)
            cluster.loop.spawn(ENVIRONMENT, self._inject_at(cluster, fault.length, 0, enabling))

    async def _change(self, node: Node, place: int, index: int) -> None:
        """Change the schedule to one of three slower ones, or back."""
        stored = node.definitions.get(key_of(place))
        if stored is None or not stored.definition.dynamic:
            return
        plan, later = self._tasks[place], 1 + index % 3
        changed = plan.task(place, later)
        await node.control.change(plan.task(place) if stored.definition == changed else changed, stored.version)
