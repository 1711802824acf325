"""The registrar writes the tasks that code declares and adds, and reads the tasks that the store holds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from task_manager_core.application import reconciler
from task_manager_core.domain.errors import BackendUnavailable, TaskNotFound
from task_manager_core.domain.events import CatalogueChanged, DefinitionKept, ScheduleChanged, StoreSetBack
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.observation import TaskView
from task_manager_core.domain.planning import NextSlot, SkipReason
from task_manager_core.domain.run import RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Catalogue, Changes, DefinitionWrite
from tests.application.cluster import KEY, MINUTE, NOON, POLICY, SECOND, Cluster, Process, Trouble, a_task, live

HOURLY = Schedule.every(timedelta(hours=1))
MINUTELY = Schedule.every(MINUTE)
OTHER = TaskKey("group", "other")


def at(instant_after_noon: timedelta) -> NextSlot:
    return NextSlot(slot=NOON + instant_after_noon, due_at=NOON + instant_after_noon)


async def view(cluster: Cluster, key: TaskKey = KEY) -> TaskView | None:
    tasks = (await cluster.backend.history.snapshot([key])).tasks
    return tasks[0] if tasks else None


async def stored(cluster: Cluster) -> dict[TaskKey, TaskDefinition]:
    changes = await cluster.backend.catalogue.load(-1)
    assert changes is not None
    return {one.definition.key: one.definition for one in changes.changed}


async def next_slot(cluster: Cluster, key: TaskKey = KEY) -> NextSlot | None:
    found = await view(cluster, key)
    assert found is not None
    return found.next_slot


async def ticks(*processes: Process, rounds: int = 3) -> None:
    for _ in range(rounds):
        for process in processes:
            await process.node.registrar.tick()


# --- what the code declares ------------------------------------------------------------------------------------------


async def test_a_declared_task_is_written_once_and_waits_for_its_first_slot(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task())
    cluster.clock.advance(SECOND)
    assert await process.node.registrar.tick() == 1.0
    assert (await stored(cluster), await next_slot(cluster)) == ({KEY: a_task()}, at(MINUTE))
    assert process.events.one(CatalogueChanged).changed == (KEY,)
    await ticks(process)
    assert process.link.calls.count("put") == 1


async def test_a_task_that_runs_on_start_runs_when_it_is_first_stored_and_not_at_every_start(cluster: Cluster) -> None:
    task = a_task(schedule=HOURLY, run_on_start=True)
    cluster.clock.advance(SECOND)
    await cluster.process().declares(task).node.registrar.tick()
    assert await next_slot(cluster) == at(SECOND)
    leader = await cluster.process("again").declares(task).lead()
    await leader.node.scheduler.tick()
    assert await next_slot(cluster) == at(timedelta(hours=1))
    await ticks(cluster.process("third").declares(task))
    assert await next_slot(cluster) == at(timedelta(hours=1))


async def test_two_versions_side_by_side_do_not_overwrite_each_other_for_ever(cluster: Cluster) -> None:
    old, new = cluster.process("old").declares(a_task()), cluster.process("new").declares(a_task(schedule=HOURLY))
    await ticks(old)
    await ticks(new, old, new)
    assert (await stored(cluster))[KEY].schedule == HOURLY
    assert (old.link.calls.count("put"), new.link.calls.count("put")) == (1, 1)


async def test_a_process_that_found_its_definition_keeps_a_newer_one_that_follows(cluster: Cluster) -> None:
    """Of many processes of one version only the first writes the definition."""
    first, second = (cluster.process(name).declares(a_task()) for name in ("first", "second"))
    await ticks(first, second)
    new = cluster.process("new").declares(a_task(schedule=HOURLY))
    await ticks(new, first, second, new)
    assert (await stored(cluster))[KEY].schedule == HOURLY
    assert [process.link.calls.count("put") for process in (first, second, new)] == [1, 0, 1]


async def test_the_process_that_writes_a_changed_schedule_reports_it_once(cluster: Cluster) -> None:
    old, new, again = (cluster.process(name) for name in ("old", "new", "again"))
    await ticks(old.declares(a_task()))
    new.declares(a_task(schedule=HOURLY))
    await ticks(new, old, new)
    await ticks(again.declares(a_task(schedule=HOURLY)), new, old)
    changed = ScheduleChanged(node=new.id, key=KEY, old=a_task().schedule, new=HOURLY)
    assert [process.events.of(ScheduleChanged) for process in (old, new, again)] == [[], [changed], []]


async def test_a_change_of_something_else_is_no_change_of_the_schedule(cluster: Cluster) -> None:
    await ticks(cluster.process("old").declares(a_task()))
    new = cluster.process("new").declares(replace(a_task(), description="other"))
    await ticks(new)
    assert new.link.calls.count("put") == 1
    assert new.events.of(ScheduleChanged) == []


async def test_a_process_that_starts_again_with_the_same_code_writes_nothing(cluster: Cluster) -> None:
    await ticks(cluster.process("first").declares(a_task()))
    again = cluster.process("again").declares(a_task())
    await ticks(again)
    assert "put" not in again.link.calls


class PartlyUnreadableCatalogue:
    """A catalogue that a newer release has written to. The reader does not understand some definitions."""

    def __init__(self, catalogue: Catalogue, *keys: TaskKey) -> None:
        self._catalogue = catalogue
        self.keys = frozenset(keys)

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._catalogue, verb)

    async def load(self, since: int) -> Changes | None:
        changes = await self._catalogue.load(since)
        if changes is None:
            return None
        read = tuple(one for one in changes.changed if one.definition.key not in self.keys)
        return replace(changes, changed=read, unreadable=self.keys & {one.definition.key for one in changes.changed})


@pytest.mark.parametrize("silence", [SECOND, 3 * MINUTE])
async def test_a_process_that_starts_writes_its_definition_over_one_that_it_cannot_read(
    cluster: Cluster, silence: timedelta
) -> None:
    """This happens at a rollback. The older process knows only the next slot of the schedule that it replaces."""
    new = cluster.process("new").declares(a_task(schedule=MINUTELY))
    await ticks(new)
    cluster.clock.advance(silence)
    catalogue = PartlyUnreadableCatalogue(cluster.backend.catalogue, KEY)
    older = Cluster(replace(cluster.backend, catalogue=catalogue), cluster.store, cluster.clock).process("older")
    await ticks(older.declares(a_task(schedule=HOURLY)), new, rounds=1)
    catalogue.keys = frozenset()
    await ticks(older, new)
    assert (await stored(cluster))[KEY].schedule == HOURLY
    assert await next_slot(cluster) == at(timedelta(hours=1))
    found = await view(cluster)
    assert found is not None
    assert found.skipped == ({} if silence < MINUTE else {SkipReason.DELETED: 1})
    assert (older.link.calls.count("put"), new.link.calls.count("put")) == (1, 1)


async def test_a_process_leaves_a_definition_that_it_cannot_read_once_it_has_written_its_own(cluster: Cluster) -> None:
    catalogue = PartlyUnreadableCatalogue(cluster.backend.catalogue)
    older = Cluster(replace(cluster.backend, catalogue=catalogue), cluster.store, cluster.clock).process("older")
    await ticks(older.declares(a_task()))
    catalogue.keys = frozenset([KEY])
    new = cluster.process("new").declares(a_task(schedule=HOURLY))
    await ticks(new, older, older)
    assert (await stored(cluster))[KEY].schedule == HOURLY
    older.declarations.add(a_task(dynamic=True))
    await ticks(older)
    assert older.link.calls.count("put") == 1
    assert older.events.one(DefinitionKept).key == KEY
    assert older.events.of(CatalogueChanged)[-1].unreadable == (KEY,)


async def test_two_processes_that_start_at_once_agree(cluster: Cluster) -> None:
    a, b = cluster.process("a").declares(a_task()), cluster.process("b").declares(a_task(schedule=HOURLY))

    async def b_first() -> None:
        await b.node.registrar.tick()

    a.link.between("agenda", b_first)
    await ticks(a, b)
    assert a.node.definitions.get(KEY) == b.node.definitions.get(KEY)
    assert b.node.definitions.version == a.node.definitions.version


async def test_a_changed_schedule_begins_after_now_and_its_undecided_slots_are_recorded(cluster: Cluster) -> None:
    await ticks(cluster.process("old").declares(a_task()))
    cluster.clock.advance(3 * MINUTE + SECOND)
    await ticks(cluster.process("new").declares(a_task(schedule=HOURLY)))
    found = await view(cluster)
    assert found is not None
    assert (found.next_slot, found.skipped) == (at(timedelta(hours=1)), {SkipReason.DELETED: 3})


async def test_a_schedule_that_changes_after_the_clock_was_set_back_begins_after_what_was_decided(
    cluster: Cluster,
) -> None:
    leader = await cluster.process("leader").declares(a_task()).lead()
    await leader.ensure_leads(after=10 * MINUTE)
    await leader.node.scheduler.tick()
    cluster.clock.set_wall(NOON + 5 * MINUTE)
    await ticks(cluster.process("new").declares(a_task(schedule=Schedule.every(2 * MINUTE))))
    assert await next_slot(cluster) == at(12 * MINUTE)
    found = await view(cluster)
    assert found is not None
    assert (found.decided, found.skipped.get(SkipReason.DELETED)) == (NOON + 10 * MINUTE, None)


async def test_a_change_of_another_field_keeps_the_next_slot(cluster: Cluster) -> None:
    await ticks(cluster.process("old").declares(a_task()))
    cluster.clock.advance(3 * MINUTE)
    await ticks(cluster.process("new").declares(a_task(timeout=SECOND)))
    assert await next_slot(cluster) == at(MINUTE)


async def test_a_slot_decided_between_reading_and_writing_is_not_abandoned(cluster: Cluster) -> None:
    leader = await cluster.process("leader").declares(a_task()).lead()
    await leader.ensure_leads(after=MINUTE)
    new = cluster.process("new").declares(a_task(schedule=HOURLY))
    new.link.between("snapshot", leader.node.scheduler.tick)
    await ticks(new)
    found = await view(cluster)
    assert found is not None
    assert (found.next_slot, found.skipped) == (at(timedelta(hours=1)), {})
    assert [run.slot for run in found.live] == [NOON + MINUTE]


async def test_a_retired_task_returns_with_a_process_that_declares_it_and_its_missed_slots_are_recorded(
    cluster: Cluster,
) -> None:
    process = cluster.process().declares(a_task())
    await ticks(process)
    leader = await cluster.process("leader").lead()
    term = leader.node.elector.trusted()
    assert term is not None
    await cluster.backend.catalogue.retire(term, [KEY])
    cluster.clock.advance(2 * MINUTE + SECOND)
    await ticks(process)
    found = await view(cluster)
    assert found is not None
    assert (found.retired, found.next_slot, found.skipped) == (False, at(3 * MINUTE), {SkipReason.DELETED: 2})


async def test_missed_slots_are_counted_up_to_the_moment_of_writing(cluster: Cluster) -> None:
    """Counting takes time. The store would refuse a next slot that has passed again and again."""
    process = cluster.process().declares(a_task(schedule=Schedule.every(SECOND)))
    await ticks(process)
    leader = await cluster.process("leader").lead()
    term = leader.node.elector.trusted()
    assert term is not None
    await cluster.backend.catalogue.retire(term, [KEY])
    cluster.clock.advance(3000 * SECOND)

    async def meanwhile() -> None:
        cluster.clock.advance(1500 * SECOND)

    process.link.between("snapshot", meanwhile)
    await ticks(process, rounds=1)
    found = await view(cluster)
    assert found is not None
    assert (found.retired, found.next_slot, found.skipped) == (False, at(4501 * SECOND), {SkipReason.DELETED: 4500})


# --- a store that forgets --------------------------------------------------------------------------------------------


async def test_a_wiped_store_gets_all_tasks_back_and_no_old_slot_is_dispatched(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task(run_on_start=True)).knows("report")
    leader = await process.lead()
    await leader.node.control.add(a_task("other", dynamic=True, function="report"))
    await leader.node.scheduler.tick()
    cluster.store.restore_state(None)
    await leader.ensure_leads(after=3 * MINUTE)
    await ticks(process)
    assert set(await stored(cluster)) == {KEY, OTHER}
    assert (await next_slot(cluster), await next_slot(cluster, OTHER)) == (at(4 * MINUTE), at(4 * MINUTE))
    found = await view(cluster)
    assert found is not None
    assert found.skipped == {SkipReason.STORE_LOST: 3}
    await leader.node.scheduler.tick()
    assert await live(cluster) == []


async def test_a_store_that_is_wiped_while_it_is_doubted_gets_everything_back(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task())
    await ticks(process)
    process.node.definitions.doubt(OTHER, process.node.definitions.version)
    cluster.store.restore_state(None)
    await ticks(process)
    assert set(await stored(cluster)) == {KEY}
    assert process.events.one(StoreSetBack).wiped


async def test_a_lost_task_does_not_go_on_with_a_slot_of_an_older_schedule(cluster: Cluster) -> None:
    leader = await cluster.process().knows("report").lead()
    added = await leader.node.control.add(a_task(schedule=HOURLY, dynamic=True, function="report"))
    cluster.clock.advance(timedelta(hours=1))
    await leader.ensure_leads()
    await leader.node.scheduler.tick()
    assert await next_slot(cluster) == at(timedelta(hours=2))
    changed = a_task(schedule=Schedule.every(7 * MINUTE), dynamic=True, function="report")
    await leader.node.control.change(changed, added.version)
    following = await next_slot(cluster)
    cluster.store.restore_state(None)
    await ticks(leader)
    found = await view(cluster)
    assert found is not None
    assert (found.next_slot, found.skipped) == (following, {})


async def test_a_former_leader_does_not_record_slots_after_its_term_as_lost(
    cluster: Cluster,
) -> None:
    process = cluster.process().declares(a_task())
    await ticks(process)
    await process.lead()
    cluster.clock.advance(MINUTE)
    await process.ensure_leads()
    await process.node.scheduler.tick()
    await process.node.elector.resign()
    await cluster.process("next").lead()
    await process.node.elector.tick()
    cluster.store.restore_state(None)
    cluster.clock.advance(3 * MINUTE)
    await ticks(process)
    found = await view(cluster)
    assert found is not None
    assert (found.next_slot, found.skipped) == (at(5 * MINUTE), {})


async def paused(cluster: Cluster, *keys: TaskKey) -> list[bool]:
    return [view.paused for view in (await cluster.backend.history.snapshot(keys or (KEY,))).tasks]


async def leading(cluster: Cluster, *, tasks: int = 1) -> Process:
    """A leader whose reconciler has read all tasks once."""
    process = cluster.process()
    for number in range(tasks):
        process.declares(a_task("task" if number == 0 else f"task {number}"))
    await process.lead()
    for _ in range(2):
        await process.node.reconciler.tick()
    return process


async def reconcile(process: Process) -> None:
    """The next pass of the reconciler."""
    await process.node.reconciler.tick()


@pytest.mark.parametrize("how", ["paused here", "seen at a slot", "seen by a pass", "seen by the first pass"])
async def test_a_wiped_store_gets_the_pauses_back_that_the_leader_has_seen(cluster: Cluster, how: str) -> None:
    if how == "seen by the first pass":
        await ticks(cluster.process("other").declares(a_task()))
        await cluster.backend.dispatch.pause([KEY])
    process = await leading(cluster)
    if how == "paused here":
        await process.node.control.pause([KEY])
    elif how != "seen by the first pass":
        await cluster.backend.dispatch.pause([KEY])
        await process.ensure_leads(after=MINUTE)
        await (process.node.scheduler.tick() if how == "seen at a slot" else reconcile(process))
    cluster.store.restore_state(None)
    await process.node.registrar.tick()
    assert await paused(cluster) == [True]
    set_back = process.events.one(StoreSetBack)
    assert (set_back.wiped, set_back.definitions, set_back.pauses) == (True, (KEY,), (KEY,))
    await ticks(process)
    assert len(process.events.of(StoreSetBack)) == 1


async def test_a_store_that_fell_back_gets_the_pauses_back_and_no_resumption(cluster: Cluster) -> None:
    process = await leading(cluster, tasks=3)
    one, two = TaskKey("group", "task 1"), TaskKey("group", "task 2")
    await process.node.control.pause([one])
    before = cluster.store.copy_state()
    await cluster.process("other").knows("report").node.control.add(a_task("late", dynamic=True, function="report"))
    await ticks(process)
    await process.node.control.resume([one])
    await process.node.control.pause([two])
    cluster.store.restore_state(before)
    await ticks(process)
    assert await paused(cluster, KEY, one, two) == [False, True, True]
    set_back = process.events.one(StoreSetBack)
    assert (set_back.wiped, set_back.definitions, set_back.pauses) == (False, (TaskKey("group", "late"),), (two,))


async def test_a_pause_that_ended_before_the_wipe_is_not_written_again(cluster: Cluster) -> None:
    process = await leading(cluster, tasks=3)
    keys = [KEY, TaskKey("group", "task 1"), TaskKey("group", "task 2")]
    await process.node.control.pause(keys)
    await process.node.control.resume(keys[:1])
    await cluster.backend.dispatch.resume(keys[1:2])
    await reconcile(process)
    cluster.store.restore_state(None)
    await ticks(process)
    assert await paused(cluster, *keys) == [False, False, True]


async def test_a_follower_writes_no_pauses_because_it_does_not_see_their_end(cluster: Cluster) -> None:
    process = await leading(cluster)
    await process.node.control.pause([KEY])
    await process.node.elector.resign()
    leader = await cluster.process("next").lead()
    await process.node.elector.tick()
    await ticks(process)
    cluster.store.restore_state(None)
    await ticks(process, leader)
    assert await paused(cluster) == [False]
    assert process.events.one(StoreSetBack).pauses == ()


async def test_a_leader_that_is_replaced_by_the_loss_itself_still_writes_the_pauses(cluster: Cluster) -> None:
    process = await leading(cluster)
    await process.node.control.pause([KEY])
    cluster.store.restore_state(None)
    await cluster.process("next").lead()
    cluster.clock.advance(4 * SECOND)
    for _ in range(2):
        await process.node.elector.tick()
    assert not process.node.leads
    await ticks(process)
    assert await paused(cluster) == [True]


async def test_pauses_that_could_not_be_written_are_written_later_unless_a_caller_ends_them(cluster: Cluster) -> None:
    process = await leading(cluster, tasks=2)
    keys = [KEY, TaskKey("group", "task 1")]
    await process.node.control.pause(keys)
    cluster.store.restore_state(None)
    process.link.trouble("pause", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await process.node.registrar.tick()
    assert await paused(cluster, *keys) == [False, False]
    await process.node.control.resume(keys[:1])
    await process.node.registrar.tick()
    assert await paused(cluster, *keys) == [False, True]


async def test_a_pass_costs_the_same_however_many_tasks_are_paused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "PAUSES_PER_PASS", 2)
    process = await leading(cluster, tasks=5)
    keys = [stored.definition.key for stored in process.node.definitions]
    await process.node.control.pause(keys)
    await cluster.backend.dispatch.resume(keys)
    for left in (3, 1, 0):
        await reconcile(process)
        assert len(process.node.definitions.some_paused(9)) == left


async def test_after_a_wipe_a_process_announces_itself_before_it_writes_its_tasks(cluster: Cluster) -> None:
    """Otherwise a leader would find tasks that no process declares."""
    process = cluster.process().declares(a_task())
    await ticks(process)
    cluster.store.restore_state(None)
    process.link.calls.clear()
    await process.node.registrar.tick()
    assert process.link.calls.index("announce") < process.link.calls.index("put")
    assert [node.node for node in (await cluster.backend.history.snapshot()).nodes] == [process.id]


async def test_a_removed_task_is_not_restored(cluster: Cluster) -> None:
    process = cluster.process().knows("report")
    await ticks(process)
    await process.node.control.add(a_task(dynamic=True, function="report"))
    await process.node.control.remove(KEY)
    await ticks(process)
    assert await stored(cluster) == {}


# --- learning --------------------------------------------------------------------------------------------------------


async def test_a_node_learns_what_others_write_and_remove(cluster: Cluster) -> None:
    reader, writer = cluster.process("reader"), cluster.process("writer").knows("report")
    await ticks(reader, writer)
    added = await writer.node.control.add(a_task(dynamic=True, function="report"))
    await ticks(reader)
    assert reader.node.definitions.at(KEY, added.version) == added.definition
    assert reader.node.definitions.at(KEY, added.version - 1) is None
    await writer.node.control.remove(KEY)
    await ticks(reader)
    assert [(event.changed, event.removed) for event in reader.events.of(CatalogueChanged)] == [
        ((KEY,), ()),
        ((), (KEY,)),
    ]


async def test_concurrent_callers_share_one_reading_that_began_after_their_requests(cluster: Cluster) -> None:
    """The API and the loop read at the same time. Otherwise an older answer could arrive last and look like lost
    data."""
    process = cluster.process().declares(a_task())
    await ticks(process)
    first, second = (
        DefinitionWrite(definition=a_task(name, dynamic=True), expected=0, replan=True) for name in ("1st", "2nd")
    )
    await cluster.backend.catalogue.put([first])
    callers: list[asyncio.Task[None]] = []

    async def meanwhile() -> None:
        await cluster.backend.catalogue.put([second])
        callers.extend(asyncio.ensure_future(process.node.registrar.refresh()) for _ in range(100))
        await asyncio.sleep(0)

    process.link.between("load", meanwhile)
    process.link.calls.clear()
    await process.node.registrar.refresh()
    assert {stored.definition.key for stored in process.node.definitions} == {KEY, first.definition.key}
    await asyncio.gather(*callers)
    assert {stored.definition.key for stored in process.node.definitions} == {
        KEY,
        first.definition.key,
        second.definition.key,
    }
    assert process.link.calls == ["load", "load"]


async def test_a_reading_that_failed_or_was_cancelled_affects_its_own_caller_only(cluster: Cluster) -> None:
    process, other = cluster.process(), cluster.process("other").declares(a_task())
    await ticks(process, other)
    process.link.trouble("load", Trouble.LOST_REPLY)
    refresh = process.node.registrar.refresh
    failed, learnt = await asyncio.gather(refresh(), refresh(), return_exceptions=True)
    assert (type(failed), learnt) == (BackendUnavailable, None)
    await ticks(other.declares(a_task("other")))

    async def cancelled() -> None:
        first.cancel()
        await asyncio.sleep(0)

    process.link.between("load", cancelled)
    first, second = (asyncio.ensure_future(refresh()) for _ in range(2))
    await second
    assert (first.cancelled(), {stored.definition.key for stored in process.node.definitions}) == (True, {KEY, OTHER})


async def test_a_living_node_announces_itself_before_it_counts_as_gone(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task()).knows("report")
    await ticks(process)
    assert process.link.calls.count("announce") == 1
    for _ in range(30):
        cluster.clock.advance(SECOND)
        await process.node.registrar.tick()
        assert len((await cluster.backend.history.snapshot()).nodes) == 1
    assert process.link.calls.count("announce") <= 10
    (presence,) = (await cluster.backend.history.snapshot()).nodes
    assert (presence.service, presence.tasks, presence.started_at) == ("tests", frozenset({KEY}), NOON)
    assert presence.functions == {FunctionKey("group", "report")}


async def test_a_node_is_gone_when_it_has_been_silent_for_as_long_as_its_policy_says(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task())
    await process.node.registrar.tick()
    cluster.clock.advance(POLICY.presence_ttl - SECOND)
    assert len((await cluster.backend.history.snapshot()).nodes) == 1
    cluster.clock.advance(SECOND)
    assert (await cluster.backend.history.snapshot()).nodes == ()


async def test_a_new_declaration_is_announced_at_once(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task())
    await ticks(process)
    process.declares(a_task("other"))
    await process.node.registrar.tick()
    (presence,) = (await cluster.backend.history.snapshot()).nodes
    assert presence.tasks == {KEY, OTHER}


# --- pending changes -------------------------------------------------------------------------------------------------


def dynamic(*, schedule: Schedule = MINUTELY) -> TaskDefinition:
    return a_task(schedule=schedule, dynamic=True)


def pending_of(process: Process) -> tuple[list[TaskKey], list[TaskDefinition]]:
    pending = process.declarations.pending
    return list(pending.removals), list(pending.additions.values())


async def test_a_pending_change_is_written_with_the_next_tick_and_is_pending_no_more(cluster: Cluster) -> None:
    process = cluster.process()
    process.declarations.add(dynamic())
    assert pending_of(process) == ([], [dynamic()])
    await process.node.registrar.tick()
    assert (await stored(cluster), pending_of(process)) == ({KEY: dynamic()}, ([], []))
    process.declarations.remove(KEY)
    assert pending_of(process) == ([KEY], [])
    await process.node.registrar.tick()
    assert (await stored(cluster), pending_of(process)) == ({}, ([], []))


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_change_without_an_answer_stays_pending_until_it_has_one(cluster: Cluster, trouble: Trouble) -> None:
    process = cluster.process()
    process.declarations.add(dynamic())
    process.link.trouble("put", trouble)
    with pytest.raises(BackendUnavailable):
        await process.node.registrar.tick()
    assert pending_of(process) == ([], [dynamic()])
    await process.node.registrar.tick()
    assert (set(await stored(cluster)), pending_of(process)) == ({KEY}, ([], []))
    process.declarations.remove(KEY)
    process.link.trouble("remove", trouble)
    with pytest.raises(BackendUnavailable):
        await process.node.registrar.tick()
    assert pending_of(process) == ([KEY], [])
    await process.node.registrar.tick()
    assert (set(await stored(cluster)), pending_of(process)) == (set(), ([], []))
    assert process.events.of(DefinitionKept) == []


async def test_a_change_requested_during_the_write_stays_pending(cluster: Cluster) -> None:
    process = cluster.process()
    registrar = process.node.registrar

    async def removed() -> None:
        process.declarations.remove(KEY)

    async def removed_again() -> None:
        process.declarations.add(dynamic())
        process.declarations.remove(KEY)

    process.declarations.add(dynamic())
    process.link.between("put", removed)
    await registrar.tick()
    assert pending_of(process) == ([KEY], [])
    process.link.between("remove", removed_again)
    await registrar.tick()
    assert pending_of(process) == ([KEY], [])
    await registrar.tick()
    assert (await stored(cluster), pending_of(process)) == ({}, ([], []))


async def test_an_addition_by_code_keeps_a_stored_task_and_reports_it(cluster: Cluster) -> None:
    """Otherwise every start of a process would undo the changes of callers."""
    before = cluster.process("before").knows("task")
    before.declarations.add(dynamic())
    await ticks(before)
    await before.node.control.change(dynamic(schedule=HOURLY), before.node.definitions.version)
    after = cluster.process("after")
    after.declarations.add(dynamic())
    await ticks(after)
    assert (await stored(cluster), pending_of(after)) == ({KEY: dynamic(schedule=HOURLY)}, ([], []))
    assert after.events.of(DefinitionKept) == [DefinitionKept(node=after.id, key=KEY)]
    assert "put" not in after.link.calls


async def test_an_addition_that_equals_the_stored_task_is_not_reported(cluster: Cluster) -> None:
    before, after = cluster.process("before"), cluster.process("after")
    for process in (before, after):
        process.declarations.add(dynamic())
        await ticks(process)
        assert (pending_of(process), process.events.of(DefinitionKept)) == (([], []), [])
    assert "put" not in after.link.calls


@pytest.mark.parametrize("here", [False, True])
async def test_of_two_additions_at_once_the_first_stays(cluster: Cluster, here: bool) -> None:
    """`here`: this process has read the other task between its check and its write. An addition changes
    no stored task."""
    process = cluster.process()

    async def other_process() -> None:
        await cluster.backend.catalogue.put(
            [DefinitionWrite(definition=dynamic(schedule=HOURLY), expected=0, replan=True)]
        )
        if here:
            await process.node.registrar.refresh()

    process.declarations.add(dynamic())
    process.link.between("agenda", other_process)
    await ticks(process)
    assert (await stored(cluster), pending_of(process)) == ({KEY: dynamic(schedule=HOURLY)}, ([], []))
    assert process.events.one(DefinitionKept).key == KEY


async def test_a_dynamic_task_that_code_adds_replaces_a_static_definition(cluster: Cluster) -> None:
    await ticks(cluster.process("old").declares(a_task(schedule=HOURLY)))
    process = cluster.process("new")
    process.declarations.add(dynamic())
    await ticks(process)
    assert (await stored(cluster), process.events.of(DefinitionKept)) == ({KEY: dynamic()}, [])


async def test_a_removal_and_then_an_addition_of_one_name_create_a_new_task(cluster: Cluster) -> None:
    process = cluster.process()
    process.declarations.add(dynamic())
    await ticks(process)
    await process.node.control.trigger([KEY], "r")
    cluster.clock.advance(SECOND)
    process.declarations.remove(KEY)
    process.declarations.add(dynamic(schedule=HOURLY))
    await process.node.registrar.tick()
    assert (await stored(cluster), await next_slot(cluster)) == (
        {KEY: dynamic(schedule=HOURLY)},
        at(timedelta(hours=1)),
    )
    assert (await live(cluster), pending_of(process), process.events.of(DefinitionKept)) == ([], ([], []), [])


async def test_a_pending_change_is_written_before_the_next_request_of_a_caller(cluster: Cluster) -> None:
    process = cluster.process().knows("task")
    await ticks(process)
    process.declarations.add(dynamic())
    version = (await process.node.control.current(KEY)).version
    await process.node.control.change(dynamic(schedule=HOURLY), version)
    assert await stored(cluster) == {KEY: dynamic(schedule=HOURLY)}
    process.declarations.remove(KEY)
    await process.node.control.add(dynamic())
    assert await stored(cluster) == {KEY: dynamic()}
    process.declarations.remove(KEY)
    with pytest.raises(TaskNotFound):
        await process.node.control.remove(KEY)
    process.declarations.add(dynamic())
    await process.node.control.remove(KEY)
    assert (await stored(cluster), pending_of(process)) == ({}, ([], []))


async def test_an_addition_and_then_its_removal_leave_nothing(cluster: Cluster) -> None:
    process = cluster.process()
    process.declarations.add(dynamic())
    process.declarations.remove(KEY)
    await ticks(process)
    assert await stored(cluster) == {}


async def test_a_removed_task_does_not_return_with_the_tasks_that_the_store_lost(cluster: Cluster) -> None:
    process = cluster.process()
    process.declarations.add(dynamic())
    await ticks(process)
    process.declarations.remove(KEY)
    cluster.store.restore_state(None)
    await ticks(process)
    assert await stored(cluster) == {}


async def test_a_removal_ends_the_live_runs(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task())
    await ticks(process)
    await process.node.control.trigger([KEY], "r")
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]
    process.declarations.remove(KEY)
    await process.node.registrar.tick()
    assert (await cluster.backend.history.snapshot()).queued == 0
