"""A schedule: the union of its rules, its bounds, and a jitter that does not change the identity of a slot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import DefinitionError, InvalidCron, InvalidPolicy, InvalidTimezone
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap
from task_manager_core.domain.schedule import Schedule

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEY = TaskKey("group", "task")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NEW_YEAR = instant("2026-01-01")


def slots(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    slot = schedule.next_after(after)
    while slot is not None and len(found) < count:
        found.append(slot)
        slot = schedule.next_after(slot)
    return found


def test_one_text_makes_one_rule_with_the_defaults() -> None:
    assert Schedule.cron("0 9 * * *") == Schedule(rules=(Cron(expression=CronExpression.parse("0 9 * * *")),))
    assert hash(Schedule.cron("0 9 * * *")) == hash(Schedule.cron(" 0  9 * * *"))


def test_a_schedule_carries_its_arguments() -> None:
    schedule = Schedule.cron(
        ["0 H * * *", "30 12 * * *"],
        timezone="Europe/Rome",
        gap=Gap.SKIP,
        fold=Fold.BOTH,
        hash_seed="group/task",
        start_at=NEW_YEAR,
        end_at=NEW_YEAR + 30 * DAY,
        jitter=MINUTE,
    )
    first, second = schedule.rules
    assert isinstance(first, Cron)
    assert first.expression.hash_seed == "group/task"
    assert (first.timezone, first.gap, first.fold) == ("Europe/Rome", Gap.SKIP, Fold.BOTH)
    assert second.text == "30 12 * * *"
    assert (schedule.start_at, schedule.end_at, schedule.jitter) == (NEW_YEAR, NEW_YEAR + 30 * DAY, MINUTE)


def test_slots_are_those_of_all_rules_and_a_common_instant_is_one_slot() -> None:
    schedule = Schedule(
        rules=(
            *Schedule.cron(["0 */2 * * *", "0 */3 * * *"]).rules,
            Every(interval=6 * HOUR),
            At(instants=(instant("2026-01-01T05:00"), instant("2026-01-01T06:00"))),
        )
    )
    assert [slot.hour for slot in slots(schedule, NEW_YEAR, 8)] == [2, 3, 4, 5, 6, 8, 9, 10]


def test_a_rule_given_twice_is_kept_once() -> None:
    assert Schedule.cron(["0 9 * * *", "0 9 * * *"]) == Schedule.cron("0 9 * * *")


def test_slots_lie_between_start_and_end_and_the_end_is_no_slot() -> None:
    schedule = Schedule.cron("0 * * * *", start_at=NEW_YEAR, end_at=NEW_YEAR + 3 * HOUR)
    hours = [NEW_YEAR, NEW_YEAR + HOUR, NEW_YEAR + 2 * HOUR]
    assert slots(schedule, NEW_YEAR - 900 * DAY, 9) == hours
    assert slots(schedule, NEW_YEAR, 9) == hours[1:]
    assert schedule.next_after(NEW_YEAR + 2 * HOUR) is None
    assert schedule.next_after(NEW_YEAR + 900 * DAY) is None


def test_bounds_are_kept_in_utc() -> None:
    start = datetime(2026, 7, 1, 2, tzinfo=ZoneInfo("Europe/Rome"))
    schedule = Schedule.every(HOUR, start_at=start, end_at=start + DAY)
    assert schedule.start_at == instant("2026-07-01")
    assert schedule.start_at is not None
    assert schedule.start_at.tzinfo is UTC


def test_a_run_at_its_own_start_is_a_slot() -> None:
    moment = NEW_YEAR + timedelta(microseconds=123_456)
    schedule = Schedule(rules=(At(instants=(moment,)),), start_at=moment)
    assert slots(schedule, NEW_YEAR, 2) == [NEW_YEAR + timedelta(milliseconds=123)]


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Schedule.cron("*/5 * * * *"), "*/5 * * * *"),
        (Schedule.cron(["0 9 * * MON", "@Daily"]), "0 9 * * MON | @Daily"),
        (Schedule.every(90 * timedelta(seconds=1)), "every 90s"),
        (Schedule.at(NEW_YEAR, NEW_YEAR + DAY), "at 2026-01-01T00:00:00Z, 2026-01-02T00:00:00Z"),
        (Schedule(rules=(*Schedule.cron("0 9 * * *").rules, Every(interval=HOUR))), "0 9 * * * | every 3600s"),
    ],
)
def test_the_expression_is_what_a_reader_expects(schedule: Schedule, text: str) -> None:
    assert schedule.expression == text


# --- jitter ----------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 86_400_000),
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # bounds are naive
    st.text("aß/:1 ", min_size=1, max_size=20),
)
def test_jitter_stays_below_its_length_and_is_a_pure_function(length: int, slot: datetime, name: str) -> None:
    schedule = Schedule.every(HOUR, jitter=timedelta(milliseconds=length))
    slot = slot.replace(microsecond=0)
    due = schedule.due_at(TaskKey("group", name), slot)
    assert timedelta(0) <= due - slot < max(schedule.jitter, timedelta(microseconds=1))
    assert due == Schedule.every(HOUR, jitter=schedule.jitter).due_at(TaskKey("group", name), slot)
    assert due.microsecond % 1000 == 0


def test_jitter_spreads_tasks_and_slots() -> None:
    schedule = Schedule.every(HOUR, jitter=10 * MINUTE)
    by_task = {schedule.due_at(TaskKey("group", f"task-{number}"), NEW_YEAR) for number in range(200)}
    by_slot = {schedule.due_at(KEY, NEW_YEAR + number * HOUR) - number * HOUR for number in range(200)}
    assert len(by_task) > 190
    assert len(by_slot) > 190
    assert max(by_task) - min(by_task) > 9 * MINUTE


def test_jitter_never_changes_between_versions() -> None:
    """Versions with different results would dispatch one slot at two instants during a rolling deployment."""
    schedule = Schedule.every(HOUR, jitter=HOUR)
    assert schedule.due_at(KEY, NEW_YEAR) - NEW_YEAR == timedelta(milliseconds=1_179_971)


def test_parts_of_a_key_do_not_run_together() -> None:
    schedule = Schedule.every(HOUR, jitter=HOUR)
    assert schedule.due_at(TaskKey("a", "b/c"), NEW_YEAR) != schedule.due_at(TaskKey("a/b", "c"), NEW_YEAR)


def test_a_slot_written_in_another_zone_is_the_same_slot() -> None:
    schedule = Schedule.every(HOUR, jitter=HOUR)
    elsewhere = NEW_YEAR.astimezone(ZoneInfo("Asia/Kolkata"))
    assert schedule.due_at(KEY, elsewhere) == schedule.due_at(KEY, NEW_YEAR)


def test_without_jitter_a_slot_is_due_at_once() -> None:
    assert Schedule.every(HOUR).due_at(KEY, NEW_YEAR) == NEW_YEAR


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"rules": (), "jitter": MINUTE}, "jitter"),
        ({"rules": tuple(Every(interval=n * MINUTE) for n in range(1, 22))}, "rules"),
        ({"jitter": timedelta(seconds=-1)}, "jitter"),
        ({"jitter": timedelta(days=1, seconds=1)}, "jitter"),
        ({"jitter": timedelta(microseconds=5)}, "jitter"),
        ({"jitter": 5}, "jitter"),
        ({"start_at": NEW_YEAR.replace(tzinfo=None)}, "start_at"),
        ({"start_at": "2026-01-01"}, "start_at"),
        ({"end_at": NEW_YEAR.replace(tzinfo=None)}, "end_at"),
        ({"end_at": 0}, "end_at"),
        ({"start_at": NEW_YEAR, "end_at": NEW_YEAR}, "end_at"),
        ({"start_at": NEW_YEAR, "end_at": NEW_YEAR - DAY}, "end_at"),
        ({"start_at": NEW_YEAR + MINUTE, "end_at": NEW_YEAR + HOUR}, "end_at"),
        ({"start_at": instant("9998-12-31T23:00:01")}, "start_at"),
        ({"start_at": instant("9999-01-01")}, "start_at"),
        ({"start_at": instant("1969-12-31")}, "start_at"),
        ({"end_at": instant("9999-12-31")}, "end_at"),
        ({"end_at": datetime.min.replace(tzinfo=UTC)}, "end_at"),
        ({"rules": (At(instants=(NEW_YEAR,)),), "start_at": NEW_YEAR + MINUTE}, "start_at"),
        ({"rules": (At(instants=(NEW_YEAR,)),), "end_at": NEW_YEAR}, "end_at"),
    ],
)
def test_an_impossible_schedule_is_refused_with_the_name_of_the_field(arguments: dict[str, object], field: str) -> None:
    given_rules = {"rules": (Every(interval=HOUR),), **arguments}
    with pytest.raises(InvalidPolicy) as caught:
        Schedule(**given_rules)  # type: ignore[arg-type]  # hostile input is the point
    assert caught.value.field == field


@pytest.mark.parametrize("text", [None, 5, b"* * * * *", [], [None], [b"* * * * *"], ["0 9 * * *", "61 * * * *"], [[]]])
def test_a_cron_argument_that_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(InvalidCron) as caught:
        Schedule.cron(text)  # type: ignore[arg-type]  # hostile input is the point
    assert caught.value.field == "cron_expression"


def test_expressions_are_counted_before_they_are_read() -> None:
    with pytest.raises(InvalidCron, match="cron_expression=21: must be at most 20 expressions"):
        Schedule.cron([f"{minute} * * * wrong" for minute in range(21)])


def test_what_the_rules_refuse_a_schedule_refuses() -> None:
    refused: list[tuple[type[DefinitionError], Callable[[], Schedule]]] = [
        (InvalidTimezone, lambda: Schedule.cron("0 9 * * *", timezone="Mars/Base")),
        (InvalidCron, lambda: Schedule.cron("H 9 * * *")),
        (InvalidPolicy, lambda: Schedule.every(timedelta(0))),
        (InvalidPolicy, lambda: Schedule.every(HOUR, phase=HOUR)),
        (InvalidPolicy, Schedule.at),
    ]
    for error, build in refused:
        with pytest.raises(error):
            build()


def test_a_recurring_schedule_that_only_ends_is_not_judged_without_a_clock() -> None:
    assert Schedule.cron("0 9 * * *", end_at=NEW_YEAR).next_after(NEW_YEAR) is None


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(InvalidPolicy):
        Schedule.cron("0 9 * * *").next_after(NEW_YEAR.replace(tzinfo=None))
