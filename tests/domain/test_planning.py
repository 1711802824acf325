"""The rules for due slots. The invariants hold for every schedule, policy and state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.planning import (
    SLOTS_PER_DECISION,
    DueTask,
    NextSlot,
    Skipped,
    SkipReason,
    SlotDecision,
    abandoned_slots,
    decide_slots,
    first_slot,
    next_slot_after,
)
from task_manager_core.domain.policy import LONGEST_TIME, CatchUp, CatchUpMode, Overlap
from task_manager_core.domain.preview import upcoming
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap, Rule
from task_manager_core.domain.schedule import LONGEST_JITTER, Schedule
from task_manager_core.domain.task import TaskDefinition

KEY = TaskKey("g", "n")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EVERY_MINUTE = Schedule.every(MINUTE)


def a_task(
    schedule: Schedule = EVERY_MINUTE,
    *,
    overlap: Overlap = Overlap.ALLOW,
    mode: CatchUpMode = CatchUpMode.LATEST,
    window: timedelta = DAY,
    limit: int = 100,
    grace: timedelta = 2 * SECOND,
    start_deadline: timedelta | None = None,
    max_instances: int | None = None,
    run_on_start: bool = False,
) -> TaskDefinition:
    return TaskDefinition(
        key=KEY,
        schedule=schedule,
        function="f",
        overlap=overlap,
        catch_up=CatchUp(mode=mode, window=window, limit=limit, grace=grace),
        start_deadline=start_deadline,
        max_instances=max_instances if overlap is Overlap.ALLOW else None,
        run_on_start=run_on_start,
    )


def due(
    slot: datetime = NOON,
    due_at: datetime | None = None,
    *,
    live: int = 0,
    held: int = 0,
    retrying: int = 0,
    paused: bool = False,
    resumed_at: datetime | None = None,
) -> DueTask:
    return DueTask(
        key=KEY,
        version=1,
        slot=slot,
        due_at=due_at or slot,
        live=live,
        held=held,
        retrying=retrying,
        paused=paused,
        resumed_at=resumed_at,
    )


def opening(task: TaskDefinition, state: DueTask, now: datetime) -> dict[datetime, datetime]:
    """Every due slot with the first instant at which it can be dispatched, which is not before that of an earlier
    slot."""
    opens_at = state.due_at
    found = {state.slot: opens_at}
    next_slot = next_slot_after(task, state.slot)
    while next_slot is not None and next_slot.due_at <= now:
        opens_at = found[next_slot.slot] = max(next_slot.due_at, opens_at)
        next_slot = next_slot_after(task, next_slot.slot)
    return found


def dispatched_slots(decision: SlotDecision) -> list[datetime]:
    return [run.slot for run in decision.dispatch if run.slot is not None]


def skipped(task: TaskDefinition, decision: SlotDecision) -> list[tuple[datetime, SkipReason]]:
    """Every single skipped slot of the ranges."""
    found: list[tuple[datetime, SkipReason]] = []
    for skip in decision.skipped:
        slots = [skip.first]
        while slots[-1] < skip.last:
            next_slot = next_slot_after(task, slots[-1])
            assert next_slot is not None
            slots.append(next_slot.slot)
        assert (slots[-1], len(slots)) == (skip.last, skip.count)
        found += [(slot, skip.reason) for slot in slots]
    return found


def worked_off(task: TaskDefinition, state: DueTask, now: datetime) -> list[SlotDecision]:
    """Decide until no slot is due. The store keeps every decision, and every run ends at once."""
    decisions: list[SlotDecision] = []
    next_slot: NextSlot | None = NextSlot(slot=state.slot, due_at=state.due_at)
    while next_slot is not None and (not decisions or next_slot.due_at <= now):
        decision = decide_slots(task, due(next_slot.slot, next_slot.due_at), now)
        decisions.append(decision)
        next_slot = decision.next_slot
    return decisions


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    return Schedule.every(
        timedelta(seconds=draw(st.sampled_from([1, 7, 60, 3600]))),
        jitter=timedelta(seconds=draw(st.sampled_from([0, 0, 5, 300]))),
        end_at=draw(st.none() | st.integers(1, 5000).map(lambda seconds: NOON + seconds * SECOND)),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[TaskDefinition, DueTask, datetime]:
    task = a_task(
        draw(schedules()),
        overlap=draw(st.sampled_from(Overlap)),
        mode=draw(st.sampled_from(CatchUpMode)),
        window=draw(st.sampled_from([MINUTE, HOUR, DAY])),
        limit=draw(st.sampled_from([1, 5, 100, 500])),
        grace=draw(st.sampled_from([timedelta(0), 2 * SECOND, HOUR])),
        start_deadline=draw(st.none() | st.sampled_from([SECOND, MINUTE, HOUR])),
        max_instances=draw(st.sampled_from([None, 1, 3])),
    )
    slot = task.schedule.next_after(NOON - SECOND)
    assert slot is not None or task.schedule.end_at is not None
    state = DueTask(
        key=KEY,
        version=draw(st.integers(1, 9)),
        slot=slot or NOON,
        due_at=task.schedule.due_at(KEY, slot or NOON),
        paused=draw(st.booleans()),
        resumed_at=draw(st.none() | st.integers(-100, 5000).map(lambda seconds: NOON + seconds * SECOND)),
        live=draw(st.integers(0, 2)),
        held=draw(st.integers(0, 2)),
        retrying=draw(st.integers(0, 1)),
    )
    late = draw(st.one_of(st.integers(0, 30), st.integers(0, 20_000)))
    return task, state, state.due_at + late * SECOND


@given(situations())
@settings(max_examples=200)
def test_every_due_slot_is_accounted_for_exactly_once(situation: tuple[TaskDefinition, DueTask, datetime]) -> None:
    """Invariant: each slot before the new next slot is dispatched, held or skipped, and only once."""
    task, state, now = situation
    decision = decide_slots(task, state, now)
    held = [decision.hold.slot] if decision.hold is not None and decision.hold.slot is not None else []
    accounted = sorted([*dispatched_slots(decision), *held, *(slot for slot, _ in skipped(task, decision))])
    expected, next_slot = [state.slot], next_slot_after(task, state.slot)
    while next_slot is not None and (decision.next_slot is None or next_slot.slot < decision.next_slot.slot):
        expected.append(next_slot.slot)
        next_slot = next_slot_after(task, next_slot.slot)
    assert accounted == expected
    assert decision.slots == len(expected) <= SLOTS_PER_DECISION
    assert (decision.next_slot and decision.next_slot.slot) == (next_slot and next_slot.slot)
    assert all(task.schedule.due_at(KEY, slot) <= now for slot in expected[1:])


@given(situations())
def test_a_decision_leaves_due_slots_only_when_it_accounts_for_a_full_step(
    situation: tuple[TaskDefinition, DueTask, datetime],
) -> None:
    """Invariant: afterwards no slot is due, or at least 1000 minus the catch-up limit slots were decided."""
    task, state, now = situation
    decision = decide_slots(task, state, now)
    if decision.next_slot is not None and decision.next_slot.due_at <= now:
        assert decision.slots >= SLOTS_PER_DECISION - task.catch_up.limit


@given(situations())
def test_nothing_is_dispatched_while_paused_nor_of_the_time_of_a_pause(
    situation: tuple[TaskDefinition, DueTask, datetime],
) -> None:
    """Invariant: no slot runs during a pause or up to its end, and these slots are recorded as paused."""
    task, state, now = situation
    decision = decide_slots(task, state, now)
    dispatched = [run.slot for run in (*decision.dispatch, decision.hold) if run is not None]
    if state.paused:
        assert not dispatched
        assert {reason for _, reason in skipped(task, decision)} == {SkipReason.PAUSED}
    if state.resumed_at is not None:
        fell_due = {slot: task.schedule.due_at(KEY, slot) for slot, _ in skipped(task, decision)}
        assert all(slot and task.schedule.due_at(KEY, slot) > state.resumed_at for slot in dispatched)
        missed = [reason for slot, reason in skipped(task, decision) if fell_due[slot] <= state.resumed_at]
        assert set(missed) <= {SkipReason.PAUSED}


@given(situations())
def test_a_task_with_a_limit_never_has_more_live_runs_than_that_nor_passes_a_held_run(
    situation: tuple[TaskDefinition, DueTask, datetime],
) -> None:
    """Invariant: without overlap at most one run is dispatched and one held; with a limit the live runs and those that
    are dispatched do not exceed it; and none is dispatched beside a held run."""
    task, state, now = situation
    decision = decide_slots(task, state, now)
    if task.overlap is Overlap.ALLOW:
        assert decision.hold is None
    limit = task.live_limit
    if limit is None:
        assert SkipReason.OVERLAP not in {reason for _, reason in skipped(task, decision)}
        return
    assert not decision.dispatch or state.live + len(decision.dispatch) <= limit
    assert not decision.dispatch or not state.held
    if decision.hold is not None:
        assert task.overlap is Overlap.BUFFER_ONE
        assert state.held == 0
        assert state.live or decision.dispatch


@pytest.mark.parametrize(("live", "dispatched"), [(0, 3), (1, 2), (2, 1), (3, 0), (5, 0)])
def test_slots_beyond_the_limit_are_skipped_and_the_earlier_ones_run(live: int, dispatched: int) -> None:
    task = a_task(Schedule.every(SECOND), mode=CatchUpMode.ALL, grace=MINUTE, max_instances=3)
    decision = decide_slots(task, due(live=live), NOON + 4 * SECOND)
    slots = [NOON + number * SECOND for number in range(5)]
    assert (dispatched_slots(decision), decision.hold) == (slots[:dispatched], None)
    assert skipped(task, decision) == [(slot, SkipReason.OVERLAP) for slot in slots[dispatched:]]


@given(situations())
def test_nothing_is_dispatched_while_a_retry_waits(situation: tuple[TaskDefinition, DueTask, datetime]) -> None:
    """Invariant: with a waiting retry every slot is skipped."""
    task, state, now = situation
    if state.retrying:
        decision = decide_slots(task, state, now)
        assert (decision.dispatch, decision.hold) == ((), None)


@given(situations())
def test_a_decision_is_a_pure_function_of_what_it_was_asked(
    situation: tuple[TaskDefinition, DueTask, datetime],
) -> None:
    """Invariant: equal arguments, equal decision: two leaders name the same runs."""
    assert decide_slots(*situation) == decide_slots(*situation)


@st.composite
def situations_at_a_deadline(draw: st.DrawFn) -> tuple[TaskDefinition, DueTask, datetime, timedelta]:
    """A state in which only the deadline skips slots. One slot meets it, or misses it by less than twice its length."""
    deadline = draw(st.sampled_from([SECOND, MINUTE, 10 * MINUTE]))
    schedule = Schedule.every(
        timedelta(seconds=draw(st.sampled_from([7, 60, 3600]))),
        jitter=timedelta(seconds=draw(st.sampled_from([0, 5, 300]))),
    )
    task = a_task(
        schedule,
        overlap=draw(st.sampled_from(Overlap)),
        mode=CatchUpMode.ALL,
        limit=500,
        grace=draw(st.sampled_from([timedelta(0), 2 * SECOND, HOUR])),
        start_deadline=deadline,
    )
    next_slot = next_slot_after(task, NOON)
    assert next_slot is not None
    state, opens_at = due(next_slot.slot, next_slot.due_at), next_slot.due_at
    for _ in range(draw(st.integers(0, 10))):
        next_slot = next_slot_after(task, next_slot.slot)
        assert next_slot is not None
        opens_at = max(opens_at, next_slot.due_at)
    instant = timedelta(milliseconds=1)
    beside = draw(st.sampled_from([-instant, timedelta(0), instant, deadline / 2, deadline - instant, deadline]))
    return task, state, opens_at + deadline + beside, deadline


@given(situations_at_a_deadline())
@settings(max_examples=200)
def test_no_slot_runs_that_is_later_than_its_start_deadline(
    situation: tuple[TaskDefinition, DueTask, datetime, timedelta],
) -> None:
    """Invariant: a slot is skipped if and only if now is later than its first possible dispatch plus the deadline.

    The run of any other slot may start until exactly that instant.
    """
    task, state, now, deadline = situation
    opens_at, decision = opening(task, state, now), decide_slots(task, state, now)
    late = {slot for slot, opened in opens_at.items() if now - opened > deadline}
    assert {slot for slot, reason in skipped(task, decision) if reason is SkipReason.DEADLINE} == late
    dispatched = [*decision.dispatch, *([decision.hold] if decision.hold is not None else [])]
    for run in dispatched:
        assert run.slot is not None
        assert run.slot not in late
        assert run.start_by == opens_at[run.slot] + deadline
    assert dispatched or len(late) == len(opens_at)


@st.composite
def situations_at_a_catch_up(draw: st.DrawFn) -> tuple[TaskDefinition, DueTask, datetime]:
    """A state in which only the catch-up policy skips slots.

    One slot meets the grace or the window, or misses it by less than twice its length.
    """
    grace = draw(st.sampled_from([SECOND, 10 * SECOND, MINUTE]))
    window = draw(st.sampled_from([2 * SECOND, MINUTE, 10 * MINUTE]))
    schedule = Schedule.every(
        timedelta(seconds=draw(st.sampled_from([7, 60, 300]))),
        jitter=timedelta(seconds=draw(st.sampled_from([0, 5, 60]))),
    )
    task = a_task(
        schedule,
        mode=draw(st.sampled_from(CatchUpMode)),
        window=window,
        limit=draw(st.sampled_from([1, 2, 5, 500])),
        grace=grace,
    )
    next_slot = next_slot_after(task, NOON)
    assert next_slot is not None
    bound, instant = draw(st.sampled_from([grace, window])), timedelta(milliseconds=1)
    beside = draw(st.sampled_from([-bound / 2, -instant, timedelta(0), instant, bound / 2, bound]))
    return task, due(next_slot.slot, next_slot.due_at), next_slot.due_at + bound + beside


@given(situations_at_a_catch_up())
@settings(max_examples=200)
def test_a_slot_is_caught_up_as_its_grace_window_and_limit_say(
    situation: tuple[TaskDefinition, DueTask, datetime],
) -> None:
    """Invariant: a slot runs if now is at most the grace after its first possible dispatch.

    Of the other slots LATEST runs the newest if no other slot runs, NONE none, ALL the newest of the window up to its
    limit.
    """
    task, state, now = situation
    late = {slot: now - opened for slot, opened in opening(task, state, now).items()}
    in_time = [slot for slot in late if late[slot] <= task.catch_up.grace]
    missed = [slot for slot in late if late[slot] > task.catch_up.grace]
    caught_up = {
        CatchUpMode.LATEST: [] if in_time else missed[-1:],
        CatchUpMode.NONE: [],
        CatchUpMode.ALL: [slot for slot in missed if late[slot] <= task.catch_up.window][-task.catch_up.limit :],
    }
    decision = decide_slots(task, state, now)
    assert dispatched_slots(decision) == sorted([*in_time, *caught_up[task.catch_up.mode]])
    assert {reason for _, reason in skipped(task, decision)} <= {SkipReason.CATCH_UP}


@given(situations())
@settings(max_examples=30)
def test_catching_up_runs_what_the_policy_says_over_all_steps(
    situation: tuple[TaskDefinition, DueTask, datetime],
) -> None:
    """Invariant: of the slots that are later than the grace LATEST runs at most one, NONE none, ALL at most its
    limit."""
    task, state, now = situation
    opens_at = opening(task, state, now)
    missed = [
        slot
        for decision in worked_off(task, state, now)
        for slot in dispatched_slots(decision)
        if now - opens_at[slot] > task.catch_up.grace
    ]
    most = {CatchUpMode.LATEST: 1, CatchUpMode.NONE: 0, CatchUpMode.ALL: task.catch_up.limit}
    assert len(missed) <= most[task.catch_up.mode]


# --- examples --------------------------------------------------------------------------------------------------------


def test_a_slot_in_time_is_dispatched_and_the_next_one_planned() -> None:
    decision = decide_slots(a_task(), due(), NOON + SECOND)
    assert [run.id for run in decision.dispatch] == [RunId.of_slot(KEY, NOON)]
    assert decision.dispatch[0].version == 1
    assert (decision.skipped, decision.next_slot) == ((), NextSlot(slot=NOON + MINUTE, due_at=NOON + MINUTE))


def test_after_an_outage_the_latest_missed_slot_runs_and_the_others_are_one_record() -> None:
    decision = decide_slots(a_task(), due(), NOON + 10 * MINUTE + 30 * SECOND)
    assert dispatched_slots(decision) == [NOON + 10 * MINUTE]
    assert decision.skipped == (Skipped(first=NOON, last=NOON + 9 * MINUTE, count=10, reason=SkipReason.CATCH_UP),)


def test_no_missed_slot_runs_when_a_newer_one_is_in_time() -> None:
    assert dispatched_slots(decide_slots(a_task(), due(), NOON + 10 * MINUTE + SECOND)) == [NOON + 10 * MINUTE]


@pytest.mark.parametrize("mode", CatchUpMode)
def test_every_slot_within_grace_runs_in_every_mode(mode: CatchUpMode) -> None:
    task = a_task(Schedule.every(SECOND), mode=mode, grace=5 * SECOND)
    assert len(dispatched_slots(decide_slots(task, due(), NOON + 5 * SECOND))) == 6


def test_all_runs_the_newest_of_the_window_up_to_its_limit() -> None:
    now = NOON + 60 * MINUTE + 30 * SECOND
    windowed = decide_slots(a_task(mode=CatchUpMode.ALL, window=10 * MINUTE), due(), now)
    assert dispatched_slots(windowed) == [NOON + n * MINUTE for n in range(51, 61)]
    limited = decide_slots(a_task(mode=CatchUpMode.ALL, limit=3), due(), now)
    assert dispatched_slots(limited) == [NOON + n * MINUTE for n in (58, 59, 60)]


@pytest.mark.parametrize("count", [999, 1000, 1001, 5000])
@pytest.mark.parametrize(("mode", "runs"), [(CatchUpMode.LATEST, 1), (CatchUpMode.NONE, 0), (CatchUpMode.ALL, 100)])
def test_an_outage_of_thousands_of_slots_is_worked_off_in_steps(mode: CatchUpMode, runs: int, count: int) -> None:
    task = a_task(Schedule.every(SECOND), mode=mode, grace=timedelta(0))
    first = NOON - count * SECOND
    decisions = worked_off(task, due(first), NOON - SECOND + timedelta(milliseconds=1))
    slots = [slot for decision in decisions for slot in dispatched_slots(decision)]
    assert slots == [NOON - n * SECOND for n in range(runs, 0, -1)]
    assert sum(decision.slots for decision in decisions) == count
    assert len(decisions) <= 1 + count // (SLOTS_PER_DECISION - task.catch_up.limit)


def test_a_late_slot_is_skipped_by_its_deadline_before_catching_up_is_asked() -> None:
    decision = decide_slots(a_task(start_deadline=10 * SECOND), due(), NOON + 30 * SECOND)
    assert [skip.reason for skip in decision.skipped] == [SkipReason.DEADLINE]


def test_jitter_does_not_eat_the_start_deadline() -> None:
    task = a_task(Schedule.every(DAY, jitter=HOUR), start_deadline=SECOND, mode=CatchUpMode.ALL, window=MINUTE)
    slot = next_slot_after(task, NOON)
    assert slot is not None
    assert slot.due_at > slot.slot + MINUTE
    assert dispatched_slots(decide_slots(task, due(slot.slot, slot.due_at), slot.due_at)) == [slot.slot]


@pytest.mark.parametrize("mode", CatchUpMode)
@pytest.mark.parametrize(("interval", "jitter"), [(60, 120), (10, 60), (1, 60), (300, 3600), (1, 7200)])
def test_a_punctual_leader_skips_nothing_however_long_the_jitter(mode: CatchUpMode, interval: int, jitter: int) -> None:
    """A slot with little jitter waits for the slot before it, which has more jitter, and is not late because of
    that."""
    schedule = Schedule.every(timedelta(seconds=interval), jitter=timedelta(seconds=jitter))
    task = a_task(schedule, mode=mode, start_deadline=SECOND)
    next_slot, dispatched = next_slot_after(task, NOON), 0
    while next_slot is not None and dispatched < 5000:
        decision = decide_slots(
            task, due(next_slot.slot, next_slot.due_at), next_slot.due_at + timedelta(milliseconds=100)
        )
        assert decision.skipped == ()
        dispatched += len(decision.dispatch)
        next_slot = decision.next_slot


def test_a_pause_that_ended_before_a_slot_fell_due_does_not_skip_it() -> None:
    task = a_task(Schedule.every(DAY, jitter=HOUR))
    next_slot = next_slot_after(task, NOON)
    assert next_slot is not None
    state = due(next_slot.slot, next_slot.due_at, resumed_at=next_slot.slot + SECOND)
    assert dispatched_slots(decide_slots(task, state, next_slot.due_at)) == [next_slot.slot]


def test_all_runs_its_limit_of_missed_slots_and_the_punctual_ones() -> None:
    task = a_task(Schedule.every(5 * SECOND), mode=CatchUpMode.ALL, limit=1)
    now = NOON + 5 * 999 * SECOND
    assert [slot for one in worked_off(task, due(), now) for slot in dispatched_slots(one)] == [now - 5 * SECOND, now]


def test_a_slot_waits_for_its_jitter() -> None:
    task = a_task(Schedule.every(MINUTE, jitter=30 * SECOND))
    next_slot = next_slot_after(task, NOON)
    assert next_slot is not None
    assert next_slot.slot < next_slot.due_at < next_slot.slot + 30 * SECOND
    assert decide_slots(task, due(), next_slot.due_at - timedelta(milliseconds=1)).next_slot == next_slot


def test_the_last_slot_of_a_schedule_leaves_no_plan() -> None:
    decision = decide_slots(a_task(Schedule.at(NOON)), due(), NOON)
    assert (dispatched_slots(decision), decision.next_slot) == ([NOON], None)


def test_a_waiting_retry_makes_the_slot_a_backoff_and_not_an_overlap() -> None:
    decision = decide_slots(a_task(overlap=Overlap.BUFFER_ONE), due(live=1, retrying=1), NOON)
    assert [skip.reason for skip in decision.skipped] == [SkipReason.BACKOFF]


def test_of_the_slots_beside_a_live_run_the_first_is_held_and_the_others_overlap() -> None:
    task = a_task(Schedule.every(SECOND), overlap=Overlap.BUFFER_ONE)
    decision = decide_slots(task, due(live=1), NOON + 2 * SECOND)
    assert decision.hold is not None
    assert decision.hold.slot == NOON
    assert [(skip.count, skip.reason) for skip in decision.skipped] == [(2, SkipReason.OVERLAP)]
    again = decide_slots(task, due(live=1, held=1), NOON)
    assert (again.hold, [skip.reason for skip in again.skipped]) == (None, [SkipReason.OVERLAP])
    skipping = decide_slots(a_task(overlap=Overlap.SKIP), due(live=1), NOON)
    assert (skipping.hold, [skip.reason for skip in skipping.skipped]) == (None, [SkipReason.OVERLAP])


def test_the_slots_before_a_resumption_are_paused_and_those_after_it_run() -> None:
    state = due(resumed_at=NOON + SECOND)
    decision = decide_slots(a_task(Schedule.every(SECOND)), state, NOON + 2 * SECOND)
    assert dispatched_slots(decision) == [NOON + 2 * SECOND]
    assert [(skip.count, skip.reason) for skip in decision.skipped] == [(2, SkipReason.PAUSED)]


def test_a_new_task_waits_for_its_first_slot_unless_it_runs_on_start() -> None:
    now = NOON + 30 * SECOND
    assert first_slot(a_task(), now) == NextSlot(slot=NOON + MINUTE, due_at=NOON + MINUTE)
    assert first_slot(a_task(run_on_start=True), now) == NextSlot(slot=now, due_at=now)
    assert first_slot(a_task(Schedule.at(NOON)), now) is None


def test_a_start_off_the_schedule_is_one_slot_and_the_rhythm_follows() -> None:
    start = NOON + 30 * SECOND
    decision = decide_slots(a_task(run_on_start=True), due(start), start)
    assert (dispatched_slots(decision), decision.next_slot) == (
        [start],
        NextSlot(slot=NOON + MINUTE, due_at=NOON + MINUTE),
    )


@given(schedules(), st.integers(0, 900))
def test_abandoned_slots_are_all_slots_from_the_next_slot_to_now(schedule: Schedule, seconds: int) -> None:
    """Invariant: abandoned slots and the next slot leave no gap, also where the jitter of a slot has not passed yet."""
    task, now = a_task(schedule), NOON + seconds * SECOND
    next_slot = next_slot_after(task, NOON - SECOND)
    lost, following = abandoned_slots(task, next_slot, now, SkipReason.DELETED)
    slots = [
        slot for slot, _ in skipped(task, SlotDecision(key=KEY, version=1, slot=NOON, skipped=(lost,) if lost else ()))
    ]
    walked: list[datetime] = []
    while next_slot is not None and next_slot.slot <= now:
        walked.append(next_slot.slot)
        next_slot = next_slot_after(task, next_slot.slot)
    assert slots == walked
    assert next_slot == following == next_slot_after(task, now)


def test_a_schedule_that_has_ended_abandons_no_slot() -> None:
    assert abandoned_slots(a_task(), None, NOON, SkipReason.STORE_LOST) == (None, None)


def test_abandoned_slots_are_counted_in_steps() -> None:
    task, now = a_task(Schedule.every(SECOND)), NOON + 1500 * SECOND
    first, next_slot = abandoned_slots(task, NextSlot(slot=NOON, due_at=NOON), now, SkipReason.DELETED)
    second, next_slot = abandoned_slots(task, next_slot, now, SkipReason.DELETED)
    assert [step and (step.first, step.count) for step in (first, second)] == [
        (NOON, SLOTS_PER_DECISION),
        (NOON + SLOTS_PER_DECISION * SECOND, 501),
    ]
    assert next_slot == NextSlot(slot=now + SECOND, due_at=now + SECOND)


def test_a_run_on_start_that_is_not_dispatched_within_the_grace_is_a_missed_slot() -> None:
    """A new task may have to wait for a leader. With NONE its first slot is then skipped."""
    for late, mode, runs in ((2, CatchUpMode.NONE, 1), (3, CatchUpMode.NONE, 0), (3, CatchUpMode.LATEST, 1)):
        task = a_task(run_on_start=True, mode=mode)
        assert first_slot(task, NOON) == NextSlot(slot=NOON, due_at=NOON)
        decided = decide_slots(task, due(), NOON + late * SECOND)
        assert len(decided.dispatch) == runs
        assert [skip.reason for skip in decided.skipped] == [SkipReason.CATCH_UP] * (1 - runs)


# --- the ends of the calendar ----------------------------------------------------------------------------------------

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1)
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def near(*ends: datetime) -> st.SearchStrategy[datetime]:
    """Instants at most two days away from one of these."""
    distances = st.sampled_from([timedelta(0), timedelta(milliseconds=1), SECOND, HOUR, 23 * HOUR, 2 * DAY])
    return st.builds(
        lambda end, distance: end + distance if end in (EARLIEST, FIRST) else end - distance,
        st.sampled_from(ends),
        distances,
    )


NAMED = near(EARLIEST, FIRST, LAST, LATEST)
PRESENT = near(FIRST, LAST)
SPANS = st.sampled_from([timedelta(milliseconds=1), SECOND, DAY, 366 * DAY, LONGEST_TIME])


@st.composite
def rules_near_an_end(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from(["cron", "every", "at"]))
    if kind == "at":
        return At(instants=tuple(draw(st.lists(NAMED, min_size=1, max_size=3))))
    if kind == "every":
        interval = draw(st.sampled_from([SECOND, 7 * HOUR, DAY, 366 * DAY]))
        return Every(
            interval=interval, phase=draw(st.sampled_from([timedelta(0), interval - timedelta(milliseconds=1)]))
        )
    return Cron(
        expression=CronExpression.parse(draw(st.sampled_from(["* * * * * *", "0 0 * * *", "59 59 23 31 12 *"]))),
        timezone=draw(st.sampled_from(["UTC", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"])),
        gap=draw(st.sampled_from(Gap)),
        fold=draw(st.sampled_from(Fold)),
    )


@st.composite
def tasks_near_an_end(draw: st.DrawFn) -> TaskDefinition:
    try:
        schedule = Schedule(
            rules=(draw(rules_near_an_end()),),
            start_at=draw(st.none() | NAMED),
            end_at=draw(st.none() | NAMED),
            jitter=draw(st.sampled_from([timedelta(0), LONGEST_JITTER])),
        )
    except InvalidPolicy:
        reject()
    return a_task(
        schedule,
        overlap=draw(st.sampled_from(Overlap)),
        mode=draw(st.sampled_from(CatchUpMode)),
        window=draw(SPANS),
        grace=draw(SPANS),
        start_deadline=draw(st.none() | SPANS),
        run_on_start=draw(st.booleans()),
    )


@given(tasks_near_an_end(), PRESENT, PRESENT)
def test_no_definition_that_is_accepted_leads_out_of_the_calendar(
    task: TaskDefinition, seen: datetime, now: datetime
) -> None:
    """Invariant: for every definition and at every instant every rule has an answer."""
    upcoming(task.schedule, seen, 3)
    next_slot = first_slot(task, seen)
    for _ in range(3):
        if next_slot is None:
            return
        abandoned_slots(task, next_slot, min(now, next_slot.slot + MINUTE), SkipReason.DELETED)
        next_slot = decide_slots(task, due(next_slot.slot, next_slot.due_at), max(now, next_slot.due_at)).next_slot
