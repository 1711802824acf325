"""Makes the faults of a plan happen in a world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from task_manager_core.application.control import Control
from task_manager_core.application.node import Node
from task_manager_core.domain.errors import BackendError, BackendUnavailable, DefinitionError, RefusedError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.testing.campaign.faults import PEOPLE, Injection, InjectionKind, Point
from task_manager_core.testing.campaign.plan import TaskPlan, key_of
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.link import Action, Link, Side
from task_manager_core.testing.cluster.process import ENVIRONMENT

ASKS = 4
"""A person whose request is not answered asks again so often, with the same request id."""

_ONLY_SIDE = {InjectionKind.ERROR: Side.BEFORE, InjectionKind.LOSE: Side.AFTER}
"""Where else would an error before the effect, or a reply that is lost, come to pass?"""


class Injector:
    """One plan's faults, until their `end`."""

    def __init__(self, faults: Sequence[Injection], tasks: Sequence[TaskPlan]) -> None:
        self.active = True
        self.blocks: dict[str, float] = {}
        self._tasks = tasks
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
        """Nothing happens any more."""
        self.active = False
        self.blocks.clear()

    def start(self, world: SimCluster) -> None:
        """Set the timed faults."""
        for at, index, fault in self._timed:
            if fault.kind is InjectionKind.REWIND:
                world.loop.spawn(ENVIRONMENT, self._rewind(world, fault, at))
            else:
                world.loop.spawn(ENVIRONMENT, self._strike_at(world, at, index, fault))

    def points(self, world: SimCluster) -> Callable[[Link, str, int, Side], Collection[Action]]:
        """For the world's code points."""

        def at_point(channel: Link, operation: str, nth: int, side: Side) -> Collection[Action]:
            found = self._points.get((channel.machine, operation, nth, side), ())
            return [partial(self._strike, world, index, fault) for index, fault in found if self.active]

        return at_point

    async def _strike_at(self, world: SimCluster, at: float, index: int, fault: Injection) -> None:
        await asyncio.sleep(at)
        if self.active:
            await self._strike(world, index, fault)

    async def _rewind(self, world: SimCluster, fault: Injection, at: float) -> None:
        await asyncio.sleep(max(0.0, at - fault.length))
        copy = world.copy_store()
        await asyncio.sleep(at - world.time)
        if self.active:
            world.coverage.note(f"fault: {fault.kind.value}")
            world.restore_store(copy)

    async def _strike(self, world: SimCluster, index: int, fault: Injection) -> None:
        if not self.active:  # The machine stood still between two faults, and woke when all was over.
            return
        world.coverage.note(f"fault: {fault.kind.value}")
        world.tell("plan", str(fault))
        if fault.kind in PEOPLE:
            await self._ask(world, index, fault)
        elif isinstance(fault.at, Point) and fault.kind in _ONLY_SIDE:
            raise BackendUnavailable(fault.kind.value)
        else:
            self._happen(world, fault)
            if isinstance(fault.at, Point) and fault.kind in {InjectionKind.KILL, InjectionKind.PAUSE}:
                await asyncio.sleep(0)  # the machine's step ends here; a dead one never comes back

    def _happen(self, world: SimCluster, fault: Injection) -> None:  # noqa: C901, PLR0912 - one line for each kind
        machine, now = f"w{fault.machine}", world.time
        weather = world.link_faults[machine]
        restart = fault.length or None
        match fault.kind:
            case InjectionKind.SLOW:
                weather.slow_until, weather.slowness = now + fault.length, fault.amount
            case InjectionKind.ERROR:
                weather.fail_next = True
            case InjectionKind.LOSE:
                weather.lose_next = True
            case InjectionKind.CUT:
                weather.requests_lost_until = weather.replies_lost_until = now + fault.length
            case InjectionKind.MUTE:
                weather.requests_lost_until = now + fault.length
            case InjectionKind.DEAF:
                weather.replies_lost_until = now + fault.length
            case InjectionKind.KILL:
                world.kill(machine, restart)
            case InjectionKind.PAUSE:
                world.pause(machine, fault.length)
            case InjectionKind.BLOCK:
                self.blocks[machine] = fault.length
            case InjectionKind.JUMP:
                world.processes[machine].clock.jump(fault.amount)
            case InjectionKind.DRIFT:
                world.processes[machine].clock.drift(1.0 + fault.amount)
            case InjectionKind.STOP:
                world.stop(machine, restart)
            case InjectionKind.DOWN:
                world.store_down(fault.length)
            case InjectionKind.WIPE:
                world.restore_store(None)
            case InjectionKind.SET_BACK:
                world.store_clock.set_back(fault.amount)
            case InjectionKind.REWIND:
                copy = world.copy_store()
                world.later(0.0, lambda: world.restore_store(copy))
            case _:
                raise AssertionError(fault)

    async def _ask(self, world: SimCluster, index: int, fault: Injection) -> None:
        """A person's request, on the machine of the fault or on whichever lives."""
        machine = f"w{fault.machine}"
        if world.process(machine) is None:
            alive = world.alive()
            if not alive:
                return
            machine = alive[0].machine
        await world.on(machine, lambda node: self._repeated(world, node, index, fault))

    async def _repeated(self, world: SimCluster, node: Node, index: int, fault: Injection) -> None:
        for _ in range(ASKS):
            try:
                await self._request(world, node, index, fault)
            except BackendError:
                continue
            except (RefusedError, DefinitionError) as refused:
                world.tell(node.id.value, f"refused: {refused}")
            return

    def _request(  # noqa: PLR0911 - one line for each request
        self, world: SimCluster, node: Node, index: int, fault: Injection
    ) -> Coroutine[Any, Any, object]:
        place = fault.task % len(self._tasks)
        key, control = key_of(place), node.control
        match fault.kind:
            case InjectionKind.DISABLE:
                return self._disable(world, node, fault)
            case InjectionKind.ENABLE:
                return control.resume([key])
            case InjectionKind.TRIGGER:
                if fault.amount:
                    return self._ask_for_two(control, key, f"shared {index % 2}")
                return control.trigger([key], f"request {index}")
            case InjectionKind.RESET:
                return control.reset_retry([key])
            case InjectionKind.CANCEL:
                account = world.model.store.accounts.get(key)
                runs = [] if account is None else [*account.live, *(held.run.id for held in account.held)]
                chosen = index % len(runs) if runs else 0
                return control.cancel([(key, run) for run in runs[chosen : chosen + 1]])
            case InjectionKind.ADD:
                return control.add(self._tasks[place].task(place))
            case InjectionKind.CHANGE:
                return self._change(node, place, index)
            case InjectionKind.REMOVE:
                return control.remove(key)
            case _:
                raise AssertionError(fault)

    async def _ask_for_two(self, control: Control, key: TaskKey, request: str) -> None:
        """Two requests under one id. The second one is refused; so is the first, if another fault was here before."""
        for order in (1, 2):
            await control.trigger([key], request, {"order": order})

    async def _disable(self, world: SimCluster, node: Node, fault: Injection) -> None:
        await node.control.pause([key_of(fault.task % len(self._tasks))])
        if fault.length:
            enabling = replace(fault, kind=InjectionKind.ENABLE, at=world.time + fault.length, length=0.0)
            world.loop.spawn(ENVIRONMENT, self._strike_at(world, fault.length, 0, enabling))

    async def _change(self, node: Node, place: int, index: int) -> None:
        """To one of three slower schedules, or back."""
        stored = node.definitions.get(key_of(place))
        if stored is None or not stored.definition.dynamic:
            return
        plan, later = self._tasks[place], 1 + index % 3
        changed = plan.task(place, later)
        await node.control.change(plan.task(place) if stored.definition == changed else changed, stored.version)
