"""The requests of callers: to list tasks, to trigger and cancel runs, to add, change and remove tasks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.application.control import CHANGE_ATTEMPTS, Selection
from task_manager_core.domain.errors import (
    BackendUnavailable,
    DuplicateTask,
    InvalidArguments,
    RequestReused,
    TaskIsStatic,
    TaskNotFound,
    UnknownFunction,
    VersionConflict,
)
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.planning import NextSlot, SkipReason
from task_manager_core.domain.policy import Overlap
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import DefinitionWrite, Enqueued
from tests.application.cluster import (
    KEY,
    MINUTE,
    NOON,
    SECOND,
    Cluster,
    Process,
    Trouble,
    a_task,
    live,
    queued,
    statuses,
)

HOURLY = Schedule.every(timedelta(hours=1))
NOWHERE = TaskKey("group", "nowhere")


def report(number: int = 0) -> None: ...


def report_failure(number: int = 0) -> None:
    raise ValueError(number)


def a_report(
    name: str = "task", *, schedule: Schedule = HOURLY, kwargs: dict[str, object] | None = None
) -> TaskDefinition:
    return a_task(name, schedule=schedule, kwargs=kwargs, dynamic=True, function="report")


async def a_process(cluster: Cluster, name: str = "a") -> Process:
    process = cluster.process(name).knows("report", report)
    await process.node.registrar.tick()
    return process


# --- listing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(), ["a", "b", "c"]),
        (Selection(tag="red"), ["a", "b"]),
        (Selection(name="c"), ["c"]),
        (Selection(group="group", name="a", tag="red"), ["a"]),
        (Selection(name="c", tag="red"), []),
        (Selection(group="other"), []),
    ],
)
async def test_filters_that_are_given_must_all_match(cluster: Cluster, selection: Selection, names: list[str]) -> None:
    process = cluster.process()
    for name, tags in (("a", ("red",)), ("b", ("red", "blue")), ("c", ())):
        process.declares(replace(a_task(name), tags=tags))
    await process.node.registrar.tick()
    assert [stored.definition.key.name for stored in process.node.control.select(selection)] == names
    process.link.calls.clear()
    seen, snapshot = await process.node.control.list_tasks(process.node.control.select(selection))
    assert [status.definition.key.name for status in seen] == names
    assert [status.view for status in seen] == list(snapshot.tasks)
    assert process.link.calls == ["snapshot"]


async def test_every_request_for_an_unknown_task_is_refused(cluster: Cluster) -> None:
    control = (await a_process(cluster)).node.control
    for request in (
        control.history(NOWHERE, 1),
        control.skips(NOWHERE, 1),
        control.explain(NOWHERE),
        control.trigger([NOWHERE], "r"),
        control.remove(NOWHERE),
        control.change(a_report("nowhere"), 1),
    ):
        with pytest.raises(TaskNotFound):
            await request


async def test_before_the_first_reading_no_request_is_told_that_a_task_does_not_exist(cluster: Cluster) -> None:
    process = cluster.process()
    control = process.node.control
    for request in (control.history(KEY, 1), control.explain(KEY), control.trigger([KEY], "r")):
        with pytest.raises(BackendUnavailable, match="not been read"):
            await request
    for question in (lambda: control.select(Selection()), lambda: control.definition(KEY)):
        with pytest.raises(BackendUnavailable, match="not been read"):
            question()
    await process.node.registrar.refresh()
    assert control.select(Selection()) == ()
    with pytest.raises(TaskNotFound):
        control.definition(KEY)


async def test_history_skips_and_reasons_are_read_and_cleared(cluster: Cluster) -> None:
    leader = await cluster.process("leader").declares(a_task()).lead()
    control = leader.node.control
    await control.trigger([KEY], "r")
    await leader.work()
    await control.pause([KEY])
    await leader.ensure_leads(after=MINUTE)
    await leader.node.scheduler.tick()
    assert [record.status for record in await control.history(KEY, 10)] == [AttemptStatus.SUCCEEDED]
    assert [skip.reason for skip in await control.skips(KEY, 10)] == [SkipReason.PAUSED]
    assert (await control.explain(KEY)).next_slot == NOON + 2 * MINUTE
    assert await control.clear([KEY, NOWHERE]) == {KEY}
    assert (await control.history(KEY, 10), await control.skips(KEY, 10)) == ((), ())


async def test_a_task_removed_elsewhere_cannot_be_explained(cluster: Cluster) -> None:
    process = await a_process(cluster)
    await process.node.control.add(a_report())
    await cluster.backend.catalogue.remove([KEY])
    with pytest.raises(TaskNotFound):
        await process.node.control.explain(KEY)


async def test_a_ping_fails_if_the_store_does_not_answer(cluster: Cluster) -> None:
    process = await a_process(cluster)
    await process.node.control.ping(within=10.0)
    process.link.away = True
    with pytest.raises(BackendUnavailable):
        await process.node.control.ping(within=10.0)


# --- triggering ------------------------------------------------------------------------------------------------------


async def test_a_trigger_queues_one_run_and_its_repetition_queues_no_other(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None, runs=0)
    (first,) = await process.node.control.trigger([KEY], "request")
    assert (first.key, first.run, first.enqueued) == (KEY, RunId.of_request(KEY, "request"), Enqueued.QUEUED)
    (again,) = await process.node.control.trigger([KEY], "request")
    assert (again.run, again.enqueued) == (first.run, Enqueued.DUPLICATE)
    await process.work()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_trigger_without_an_answer_is_repeated_without_a_second_run(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None, runs=0)
    process.link.trouble("enqueue", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await process.node.control.trigger([KEY], "request")
    await process.node.control.trigger([KEY], "request")
    assert len(await live(cluster)) == 1


async def test_a_request_with_other_arguments_and_a_known_id_is_refused_and_changes_nothing(
    cluster: Cluster,
) -> None:
    """A refused request does not end the backoff of another run either."""
    process = await queued(cluster, report_failure, runs=0)
    control = process.node.control
    await control.trigger([KEY], "order", {"number": 1})
    await process.work()
    before = await live(cluster)
    assert [run.state for run in before] == [RunState.WAITING]
    for kwargs in ({"number": 2}, {}, None):
        with pytest.raises(RequestReused, match="'order' was made before with other arguments, for group/task"):
            await control.trigger([KEY], "order", kwargs)
    assert await live(cluster) == before
    (again,) = await control.trigger([KEY], "order", {"number": 1})
    assert again.enqueued is Enqueued.DUPLICATE


async def test_a_request_without_arguments_is_the_same_after_a_change_of_the_task(cluster: Cluster) -> None:
    process = await a_process(cluster)
    added = await process.node.control.add(a_report(kwargs={"number": 1}))
    await process.node.control.trigger([KEY], "order")
    await process.node.control.change(a_report(kwargs={"number": 2}), added.version)
    (again,) = await process.node.control.trigger([KEY], "order")
    assert again.enqueued is Enqueued.DUPLICATE


async def test_a_trigger_ends_the_backoff_of_other_runs_and_not_of_its_own(cluster: Cluster) -> None:
    """A worker may have executed the new run, and failed, before the trigger ends the backoffs."""
    process = await queued(cluster, report_failure, runs=0)
    await process.node.control.trigger([KEY], "first")
    await process.work()
    process.link.between("enqueue", process.work)
    await process.node.control.trigger([KEY], "second")
    states = {run.run: run.state for run in await live(cluster)}
    assert states == {
        RunId.of_request(KEY, "first"): RunState.QUEUED,
        RunId.of_request(KEY, "second"): RunState.WAITING,
    }


async def test_a_trigger_may_bring_arguments_for_its_run(cluster: Cluster) -> None:
    seen: list[int] = []

    def call(number: int = 0) -> None:
        seen.append(number)

    process = await queued(cluster, call, a_task(kwargs={"number": 1}), runs=0)
    await process.node.control.trigger([KEY], "one")
    await process.work()
    await process.node.control.trigger([KEY], "two", {"number": 2})
    await process.work()
    assert seen == [1, 2]


@pytest.mark.parametrize("static", [True, False])
async def test_arguments_that_the_function_does_not_accept_are_refused_before_anything_is_queued(
    cluster: Cluster, static: bool
) -> None:
    process = await a_process(cluster)
    if static:
        process.declares(a_task(), report)
        await process.node.registrar.tick()
    else:
        await process.node.control.add(a_report())
    for kwargs in ({"surprise": 1}, {"number": float("nan")}):
        with pytest.raises(InvalidArguments):
            await process.node.control.trigger([KEY], "r", kwargs)
    assert await live(cluster) == []


async def test_a_process_that_does_not_know_the_function_leaves_the_check_to_the_worker(cluster: Cluster) -> None:
    await queued(cluster, report, runs=0)
    api = cluster.process("api")
    await api.node.registrar.tick()
    (answer,) = await api.node.control.trigger([KEY], "r", {"surprise": 1})
    assert answer.enqueued is Enqueued.QUEUED


async def test_a_trigger_leaves_the_backoff_of_its_own_run_alone(cluster: Cluster) -> None:
    """A worker may start the run and fail before the request that queued it has been answered."""

    def fail() -> None:
        raise ValueError

    worker = cluster.process("worker").declares(a_task(), fail)
    await worker.node.registrar.tick()
    api = cluster.process("api").declares(a_task())
    await api.node.registrar.tick()
    api.link.between("enqueue", worker.work)
    await api.node.control.trigger([KEY], "request")
    assert [(run.state, run.retrying) for run in await live(cluster)] == [(RunState.WAITING, True)]


async def test_a_trigger_of_an_exclusive_task_waits_for_its_live_run_and_ends_its_backoff(cluster: Cluster) -> None:
    async def fails() -> None:
        raise ValueError

    process = await queued(cluster, fails, a_task(overlap=Overlap.SKIP))
    await process.work()
    assert [run.state for run in await live(cluster)] == [RunState.WAITING]
    (answer,) = await process.node.control.trigger([KEY], "again")
    assert answer.enqueued is Enqueued.HELD
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED, RunState.HELD]


async def test_a_reset_queues_waiting_retries_at_once(cluster: Cluster) -> None:
    async def fails() -> None:
        raise ValueError

    process = await queued(cluster, fails)
    await process.work()
    assert await process.node.control.reset_retry([KEY, NOWHERE]) == 1
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]


async def test_many_tasks_cost_as_many_round_trips_as_one(cluster: Cluster) -> None:
    process = cluster.process()
    for number in range(50):
        process.declares(a_task(f"task-{number}"))
    keys = list(process.declarations.declared)
    await process.node.registrar.tick()
    process.link.calls.clear()
    await process.node.control.trigger(keys, "r")
    await process.node.control.pause(keys)
    await process.node.control.resume(keys)
    await process.node.control.clear(keys)
    assert process.link.calls == ["enqueue", "promote", "pause", "resume", "clear"]


# --- adding, changing, removing --------------------------------------------------------------------------------------


async def test_an_added_task_is_known_at_once_and_waits_for_its_first_slot(cluster: Cluster) -> None:
    process = await a_process(cluster)
    added = await process.node.control.add(a_report())
    assert process.node.definitions.get(KEY) == added
    (status,), _ = await process.node.control.list_tasks(process.node.control.select(Selection(name="task")))
    assert status.view.next_slot == NextSlot(slot=NOON + timedelta(hours=1), due_at=NOON + timedelta(hours=1))


@pytest.mark.parametrize("again", [a_report(), a_report(kwargs={"number": 1})])
async def test_a_name_is_taken_as_soon_as_the_store_holds_it(cluster: Cluster, again: TaskDefinition) -> None:
    """The first addition may have lost its answer, may come from another process, or may
    be an equal concurrent request."""
    process, other = await a_process(cluster), await a_process(cluster, "other")
    process.link.trouble("put", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await process.node.control.add(a_report())
    for one in (process, other):
        with pytest.raises(DuplicateTask):
            await one.node.control.add(again)
    await other.node.control.remove(KEY)
    answers = await asyncio.gather(*(process.node.control.add(a_report()) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [VersionedDefinition, DuplicateTask, DuplicateTask]


async def test_a_dynamic_task_needs_a_registered_function_that_accepts_its_arguments(cluster: Cluster) -> None:
    process = await a_process(cluster)
    with pytest.raises(UnknownFunction):
        await process.node.control.add(a_task(dynamic=True, function="missing"))
    with pytest.raises(InvalidArguments):
        await process.node.control.add(a_report(kwargs={"surprise": 1}))
    added = await process.node.control.add(a_report())
    with pytest.raises(InvalidArguments):
        await process.node.control.change(a_report(kwargs={"surprise": 1}), added.version)
    assert process.node.definitions.get(KEY) == added


async def test_a_change_keeps_pause_history_and_live_runs_and_dispatches_nothing_at_once(cluster: Cluster) -> None:
    process = await a_process(cluster)
    control = process.node.control
    added = await control.add(a_report())
    await control.trigger([KEY], "done")
    await process.work()
    await control.trigger([KEY], "live")
    await control.pause([KEY])
    cluster.clock.advance(SECOND)
    changed = await control.change(a_report(schedule=Schedule.every(MINUTE)), added.version)
    assert changed.version > added.version
    (status,), _ = await control.list_tasks(control.select(Selection()))
    assert status.view.paused
    assert status.view.next_slot == NextSlot(slot=NOON + MINUTE, due_at=NOON + MINUTE)
    assert [run.state for run in status.view.live] == [RunState.QUEUED]
    assert len(await control.history(KEY, 10)) == 1


async def test_a_change_of_an_outdated_version_is_refused(cluster: Cluster) -> None:
    process, other = await a_process(cluster), await a_process(cluster, "other")
    added = await process.node.control.add(a_report())
    await other.node.registrar.tick()
    newer = await other.node.control.change(a_report(kwargs={"number": 1}), added.version)
    with pytest.raises(VersionConflict) as refusal:
        await process.node.control.change(a_report(kwargs={"number": 2}), added.version)
    assert (refusal.value.expected, refusal.value.found) == (added.version, newer.version)


async def test_a_change_without_an_answer_is_repeated_with_the_same_arguments(cluster: Cluster) -> None:
    process = await a_process(cluster)
    added = await process.node.control.add(a_report())
    process.link.trouble("put", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await process.node.control.change(a_report(kwargs={"number": 1}), added.version)
    changed = await process.node.control.change(a_report(kwargs={"number": 1}), added.version)
    assert (changed.definition.kwargs, process.node.definitions.get(KEY)) == ('{"number":1}', changed)


async def test_a_change_reads_again_if_a_slot_was_decided_meanwhile(cluster: Cluster) -> None:
    process = await a_process(cluster)
    added = await process.node.control.add(a_report(schedule=Schedule.every(MINUTE)))
    leader = await cluster.process("leader").lead()
    await leader.ensure_leads(after=MINUTE)
    process.link.between("snapshot", leader.node.scheduler.tick)
    await process.node.control.change(a_report(schedule=HOURLY), added.version)
    (status,), _ = await process.node.control.list_tasks(process.node.control.select(Selection()))
    assert (status.view.skipped, [run.slot for run in status.view.live]) == ({}, [NOON + MINUTE])


async def test_a_change_fails_if_slots_are_decided_before_each_of_its_attempts(cluster: Cluster) -> None:
    process = await a_process(cluster)
    added = await process.node.control.add(a_report(schedule=Schedule.every(SECOND)))
    leader = await cluster.process("leader").lead()

    async def another_slot() -> None:
        await leader.node.scheduler.tick()
        await leader.ensure_leads(after=SECOND)

    await leader.ensure_leads(after=SECOND)
    for _ in range(CHANGE_ATTEMPTS):
        process.link.between("snapshot", another_slot)
    with pytest.raises(VersionConflict):
        await process.node.control.change(a_report(schedule=HOURLY), added.version)


async def test_a_task_removed_while_it_is_changed_is_not_found(cluster: Cluster) -> None:
    process = await a_process(cluster)
    added = await process.node.control.add(a_report())

    async def removed() -> None:
        await cluster.backend.catalogue.remove([KEY])

    process.link.between("snapshot", removed)
    with pytest.raises(TaskNotFound):
        await process.node.control.change(a_report(kwargs={"number": 1}), added.version)


async def test_a_dynamic_task_is_removed_and_a_static_one_is_not(cluster: Cluster) -> None:
    process = (await a_process(cluster)).declares(a_task("static"))
    await process.node.registrar.tick()
    await process.node.control.add(a_report())
    await process.node.control.remove(KEY)
    assert process.node.definitions.get(KEY) is None
    with pytest.raises(TaskNotFound):
        await process.node.control.remove(KEY)
    with pytest.raises(TaskIsStatic):
        await process.node.control.remove(TaskKey("group", "static"))


async def test_a_retired_static_task_can_be_removed_and_returns_with_a_process_that_declares_it(
    cluster: Cluster,
) -> None:
    await cluster.process("gone").declares(a_task()).node.registrar.tick()
    leader = await cluster.process("leader").lead()
    with pytest.raises(TaskIsStatic):
        await leader.node.control.remove(KEY)
    term = leader.node.elector.trusted()
    assert term is not None
    await cluster.backend.catalogue.retire(term, [KEY])
    removed = await leader.node.control.remove(KEY)
    assert removed.definition == a_task()
    with pytest.raises(TaskNotFound):
        await leader.node.control.remove(KEY)
    again = cluster.process("again").declares(a_task())
    await again.node.registrar.tick()
    with pytest.raises(TaskIsStatic):
        await again.node.control.remove(KEY)


async def test_of_two_removals_one_finds_the_task(cluster: Cluster) -> None:
    process = await a_process(cluster)
    await process.node.control.add(a_report())

    async def remove_first() -> None:
        await cluster.backend.catalogue.remove([KEY])

    process.link.between("load", remove_first)
    with pytest.raises(TaskNotFound):
        await process.node.control.remove(KEY)


async def test_a_definition_of_another_process_can_be_removed_before_the_next_poll(cluster: Cluster) -> None:
    process = await a_process(cluster)
    await cluster.backend.catalogue.put([DefinitionWrite(definition=a_report(), expected=0, replan=True)])
    await process.node.control.remove(KEY)
    assert (await cluster.backend.history.snapshot()).tasks == ()
