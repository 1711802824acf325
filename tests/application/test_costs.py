"""The cost of a pass does not grow with the number of tasks."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

import pytest

from task_manager_core.application.control import Selection
from task_manager_core.application.definitions import NEVER
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.schedule import Schedule
from task_manager_core.ports import Catalogue, Changes
from tests.application.cluster import KEY, MINUTE, NOON, Cluster, Process, a_task, open_cluster

YEARLY = Schedule.at(NOON + timedelta(days=365))
FEW, MANY = 10, 500


async def executed_lines(act: Callable[[], Awaitable[object] | object]) -> int:
    """How many lines of the core this executes; a line in a loop counts each time. Lines of the store do not count."""
    count, before = 0, sys.gettrace()

    def lines(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return lines

    def calls(frame: FrameType, _event: str, _arg: object) -> Any:
        return lines if "task_manager_core" in frame.f_code.co_filename else None

    sys.settrace(calls)
    try:
        answer = act()
        if isinstance(answer, Awaitable):
            await answer
    finally:
        sys.settrace(before)
    return count


async def a_leader_of(cluster: Cluster, tasks: int) -> Process:
    """A leader that has no work left. Half of the tasks are declared, and half are dynamic."""
    leader = cluster.process("leader").knows("dynamic")
    for number in range(tasks // 2):
        leader.declares(a_task(f"static-{number}", schedule=YEARLY))
    await leader.lead()
    for number in range(tasks // 2):
        await leader.node.control.add(a_task(f"{number}", schedule=YEARLY, dynamic=True, function="dynamic"))
    for _ in range(3):
        await leader.node.registrar.tick()
        await leader.node.reconciler.tick()
    return leader


async def test_an_idle_pass_costs_the_same_whatever_the_number_of_tasks() -> None:
    costs: list[tuple[int, int]] = []
    for tasks in (FEW, MANY):
        async with open_cluster() as cluster:
            node = (await a_leader_of(cluster, tasks)).node
            costs.append((await executed_lines(node.registrar.tick), await executed_lines(node.reconciler.tick)))
    assert costs[0] == costs[1]
    assert min(costs[0]) > 0


@pytest.mark.parametrize("what", ["add", "change", "remove"])
async def test_one_change_costs_the_same_whatever_the_number_of_tasks(what: str) -> None:
    costs: list[int] = []
    for tasks in (FEW, MANY):
        async with open_cluster() as cluster:
            leader = await a_leader_of(cluster, tasks)
            other = cluster.process("other").knows("dynamic")
            await other.node.registrar.tick()
            control, first = other.node.control, TaskKey("group", "0")
            if what == "add":
                await control.add(a_task("new", schedule=YEARLY, dynamic=True, function="dynamic"))
            elif what == "change":
                stored = control.definition(first)
                await control.change(replace(stored.definition, description="new"), stored.version)
            else:
                await control.remove(first)
            costs.append(await executed_lines(leader.node.registrar.tick))
            known = {stored.definition.key for stored in leader.node.definitions}
            assert known == {stored.definition.key for stored in other.node.definitions}
    assert costs[0] == costs[1]
    assert costs[0] > 0


async def test_to_select_one_task_is_to_look_it_up() -> None:
    costs: list[int] = []
    for tasks in (FEW, MANY):
        async with open_cluster() as cluster:
            control = (await a_leader_of(cluster, tasks)).node.control
            list(control.select(Selection()))  # The first call after the changes sorts the tasks.
            costs.append(await executed_lines(partial(control.select, Selection(group="group", name="0"))))
            assert [one.definition.key.name for one in control.select(Selection(group="group", name="0"))] == ["0"]
            assert [one.definition.key.name for one in control.select(Selection(name="0"))] == ["0"]
            assert len(control.select(Selection(group="group"))) == tasks
            assert control.select(Selection(group="group", name="none")) == ()
            assert control.select(Selection(group="", name="x" * 10_000)) == ()
            assert control.select(Selection(group="grou")) == control.select(Selection(group="groupp")) == ()
    assert costs[0] == costs[1]


async def test_tasks_are_listed_in_the_order_of_their_keys_whatever_the_order_of_the_changes(cluster: Cluster) -> None:
    process = cluster.process().knows("dynamic")
    await process.node.registrar.tick()
    expected: set[str] = set()
    for step in range(120):
        name = f"{step * 37 % 50}"
        if name in expected:
            await process.node.control.remove(TaskKey("group", name))
            expected.remove(name)
        else:
            await process.node.control.add(a_task(name, schedule=YEARLY, dynamic=True, function="dynamic"))
            expected.add(name)
        if step % 7 == 0:
            assert [stored.definition.key.name for stored in process.node.definitions] == sorted(expected)
    assert [stored.definition.key.name for stored in process.node.definitions] == sorted(expected)


async def test_a_version_that_a_store_gives_out_again_is_doubted(cluster: Cluster) -> None:
    """Many writes at once get versions that are ahead of the time. A store that is set back can assign them again."""
    writer = cluster.process("writer").knows("dynamic")
    await writer.node.registrar.tick()
    add = partial(a_task, schedule=Schedule.every(MINUTE), dynamic=True, function="dynamic")
    for name in "abc":
        await writer.node.control.add(add(name))
    copy = cluster.store.copy_state()
    await writer.node.control.add(add("lost"))
    leader = await cluster.process("leader").lead()
    known = leader.node.definitions.version
    cluster.store.restore_state(copy)
    other = cluster.process("other").knows("dynamic")
    assert (await other.node.control.add(add("new"))).version == known

    await leader.node.registrar.tick()
    assert leader.node.definitions.get(TaskKey("group", "new")) is None
    await leader.ensure_leads(after=MINUTE)
    await leader.node.scheduler.tick()
    await leader.node.registrar.tick()
    assert [stored.definition.key.name for stored in leader.node.definitions] == ["a", "b", "c", "new"]


class CatalogueWithoutRemovals:
    """A catalogue that an older release also writes to: the changes do not list the tasks that it removes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.readings: list[int] = []

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._catalogue, verb)

    async def load(self, since: int) -> Changes | None:
        self.readings.append(since)
        changes = await self._catalogue.load(since)
        return None if changes is None else replace(changes, removed=frozenset())


async def test_a_reader_that_counts_another_number_of_tasks_than_the_store_reads_everything(cluster: Cluster) -> None:
    writer = cluster.process("writer").knows("dynamic").declares(a_task())
    await writer.node.registrar.tick()
    for name in ("one", "two"):
        await writer.node.control.add(a_task(name, schedule=YEARLY, dynamic=True, function="dynamic"))
    catalogue = CatalogueWithoutRemovals(cluster.backend.catalogue)
    reader = Cluster(replace(cluster.backend, catalogue=catalogue), cluster.store, cluster.clock).process("reader")
    await reader.node.registrar.tick()
    await writer.node.control.remove(TaskKey("group", "one"))
    catalogue.readings.clear()
    await reader.node.registrar.tick()
    assert {stored.definition.key for stored in reader.node.definitions} == {KEY, TaskKey("group", "two")}
    assert [since == NEVER for since in catalogue.readings] == [False, True]
    await reader.node.registrar.tick()
    assert catalogue.readings[-1] == writer.node.definitions.version
