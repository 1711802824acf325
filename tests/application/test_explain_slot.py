"""What was decided about a slot, from the records that the services leave."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from task_manager_core.domain.errors import InvalidPolicy, RunNotFound, TaskNotFound
from task_manager_core.domain.explain import ReasonCode
from task_manager_core.domain.explain_slot import SlotExplanation, SlotVerdict
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap, RetryPolicy
from task_manager_core.domain.schedule import Schedule
from tests.application.cluster import KEY, MINUTE, NOON, SECOND, Cluster, Process, Steps, a_task, started

FIRST, SECOND_SLOT, THIRD = NOON + MINUTE, NOON + 2 * MINUTE, NOON + 3 * MINUTE


async def a_leader(cluster: Cluster, call: Any = None, **policies: Any) -> Process:
    process = cluster.process("leader").declares(a_task(**policies), call or (lambda: None))
    return await process.lead()


async def until(process: Process, instant: datetime) -> None:
    """Let the time pass until this instant, while the process leads, and decide about the due slots."""
    now = (await process.backend.dispatch.agenda(0)).now
    await process.ensure_leads(after=instant - now)
    await process.node.scheduler.tick()


async def explained(process: Process, slot: datetime) -> SlotExplanation:
    return await process.node.control.inspection.explain_slot(KEY, slot)


async def the_reason(process: Process, slot: datetime, verdict: SlotVerdict = SlotVerdict.SKIPPED) -> str:
    found = await explained(process, slot)
    assert (found.slot, found.verdict) == (slot, verdict)
    [reason] = found.reasons
    return reason.text


async def test_a_slot_that_ran_shows_its_attempts(cluster: Cluster) -> None:
    outcomes = iter([ValueError("no"), None])

    def call() -> None:
        error = next(outcomes)
        if error is not None:
            raise error

    leader = await a_leader(cluster, call)
    await until(leader, FIRST)
    await leader.work()
    await until(leader, FIRST + 2 * SECOND)
    await leader.work()
    await until(leader, SECOND_SLOT)
    found = await explained(leader, FIRST)
    run = RunId.of_slot(KEY, FIRST)
    assert (found.verdict, found.run, found.next_slot) == (SlotVerdict.DISPATCHED, run, THIRD)
    assert [reason.code for reason in found.reasons] == [ReasonCode.ATTEMPT, ReasonCode.ATTEMPT]
    first, second = [reason.text for reason in found.reasons]
    failed = "failed after 0 s: ValueError; another attempt follows"
    assert first == f"run {run} attempt 1 began at 2026-01-01T12:01:00Z on worker leader and {failed}"
    assert second == f"run {run} attempt 2 began at 2026-01-01T12:01:02Z on worker leader and succeeded after 0 s"
    assert (await leader.node.control.inspection.explain_run(KEY, run)).reasons == found.reasons


async def test_a_slot_whose_run_lives_shows_where_it_is(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    await until(leader, FIRST)
    found = await explained(leader, FIRST)
    assert (found.verdict, [reason.code for reason in found.reasons]) == (SlotVerdict.DISPATCHED, [ReasonCode.QUEUED])
    run = found.run
    assert run is not None
    assert (await leader.node.control.inspection.explain_run(KEY, run)).reasons == found.reasons


async def test_a_slot_that_was_paused(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    await leader.node.control.pause([KEY])
    await until(leader, FIRST)
    await leader.node.control.resume([KEY])
    assert await the_reason(leader, FIRST) == (
        "slot 2026-01-01T12:01:00Z was skipped: paused: the task was disabled when the slot fell due"
    )


@pytest.mark.parametrize("ended", [True, False])
async def test_a_slot_that_overlapped_names_the_run_that_lived(cluster: Cluster, *, ended: bool) -> None:
    steps = Steps()
    leader = await a_leader(cluster, steps, overlap=Overlap.SKIP)
    await until(leader, FIRST)
    await started(leader)
    await until(leader, SECOND_SLOT)
    if ended:
        cluster.clock.advance(SECOND)
        steps.door.set()
        await leader.ended()
        await leader.node.worker.settle()
    text = await the_reason(leader, SECOND_SLOT)
    run = RunId.of_slot(KEY, FIRST)
    assert text.startswith("slot 2026-01-01T12:02:00Z was skipped: overlap: a run had not ended: ")
    how = "began at 2026-01-01T12:01:00Z and ended at 2026-01-01T12:02:01Z" if ended else "still lives (running)"
    assert text.endswith(f"run {run} {how}")
    steps.door.set()
    await leader.ended()


async def test_a_slot_in_a_backoff_names_the_failure(cluster: Cluster) -> None:
    def fail() -> None:
        raise ValueError

    leader = await a_leader(cluster, fail, retry=RetryPolicy(initial=90 * SECOND, maximum=90 * SECOND))
    await until(leader, FIRST)
    await leader.work()
    await until(leader, SECOND_SLOT)
    text = await the_reason(leader, SECOND_SLOT)
    assert text == (
        f"slot 2026-01-01T12:02:00Z was skipped: backoff: run {RunId.of_slot(KEY, FIRST)} had failed at "
        "2026-01-01T12:01:00Z with ValueError and waited for its retry"
    )


async def test_slots_of_an_outage(cluster: Cluster) -> None:
    leader = await a_leader(cluster, catch_up=CatchUp(mode=CatchUpMode.NONE))
    cluster.clock.advance(3 * MINUTE + 10 * SECOND)
    await leader.ensure_leads()
    await leader.node.scheduler.tick()
    among = "(one of 3 slots, 2026-01-01T12:01:00Z to 2026-01-01T12:03:00Z)"
    for slot, shown in ((FIRST, "12:01"), (SECOND_SLOT, "12:02"), (THIRD, "12:03")):
        assert await the_reason(leader, slot) == (
            f"slot 2026-01-01T{shown}:00Z was skipped: catch_up {among}: no leader dispatched it within 2 s, and "
            "catch_up=none did not run it afterwards"
        )


async def test_a_slot_past_its_deadline(cluster: Cluster) -> None:
    leader = await a_leader(cluster, start_deadline=10 * SECOND)
    cluster.clock.advance(MINUTE + 30 * SECOND)
    await leader.ensure_leads()
    await leader.node.scheduler.tick()
    text = await the_reason(leader, FIRST)
    assert text.endswith("deadline: the leader could not dispatch it within the start_deadline of the task (now 10 s)")


async def test_a_run_that_expired(cluster: Cluster) -> None:
    leader = await a_leader(cluster, expires=10 * SECOND)
    await until(leader, FIRST)
    cluster.clock.advance(20 * SECOND)
    await leader.work()
    text = await the_reason(leader, FIRST, SlotVerdict.DISPATCHED)
    assert text.endswith("was claimed at 2026-01-01T12:01:20Z, too late for its deadline, and was not executed")


async def test_an_instant_without_a_slot(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    text = await the_reason(leader, NOON - 90 * SECOND, SlotVerdict.NO_SLOT)
    assert text == ("the schedule has no slot at 2026-01-01T11:58:30Z: its next slot is 2026-01-01T11:59:00Z")


async def test_a_slot_before_the_task_was_seen(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    await until(leader, FIRST)
    text = await the_reason(leader, NOON - MINUTE, SlotVerdict.NO_RECORD)
    assert "no line of this task is kept" in text


async def test_a_slot_whose_record_was_cleared(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    await until(leader, FIRST)
    await leader.work()
    await leader.node.control.clear([KEY])
    assert "the record is gone" in await the_reason(leader, FIRST, SlotVerdict.NO_RECORD)


async def test_slots_to_come(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    found = await explained(leader, FIRST)
    assert (found.verdict, found.reasons[-1].code) == (SlotVerdict.PLANNED, ReasonCode.DISPATCHES)
    later = await explained(leader, SECOND_SLOT)
    assert (later.verdict, later.reasons[-1].code) == (SlotVerdict.PLANNED, ReasonCode.NOT_DUE)
    assert later.reasons[-1].text.endswith("slot 2026-01-01T12:01:00Z is decided before it")


async def test_a_due_slot_that_waits_for_a_leader(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    cluster.clock.advance(MINUTE + SECOND)
    found = await explained(leader, FIRST)
    assert found.verdict is SlotVerdict.UNDECIDED
    assert ReasonCode.NO_LEADER in [reason.code for reason in found.reasons]


async def test_what_is_unknown_is_refused(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    control = leader.node.control
    with pytest.raises(TaskNotFound):
        await control.inspection.explain_slot(TaskKey("group", "other"), FIRST)
    with pytest.raises(RunNotFound):
        await control.inspection.explain_run(KEY, RunId("unknown"))
    for instant in (FIRST.replace(tzinfo=None), FIRST.replace(year=9999)):
        with pytest.raises(InvalidPolicy) as refused:
            await control.inspection.explain_slot(KEY, instant)
        assert refused.value.field == "at"


async def test_a_slot_of_a_schedule_that_ended(cluster: Cluster) -> None:
    leader = await a_leader(cluster, schedule=Schedule.at(FIRST))
    text = await the_reason(leader, SECOND_SLOT, SlotVerdict.NO_SLOT)
    assert text.endswith("it has none after it")
