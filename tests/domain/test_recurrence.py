"""The slots of rules. An oracle that goes through every minute of real time checks the cron rules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import InvalidPolicy, InvalidTimezone
from task_manager_core.domain.recurrence import EPOCH, At, Cron, Every, Fold, Gap, Rule

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
LATER = "1970-01-01T01:00:00Z, 1970-01-01T02:00:00Z"


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(text: str, zone: str = "UTC", gap: Gap = Gap.SHIFT, fold: Fold = Fold.FIRST) -> Cron:
    return Cron(expression=CronExpression.parse(text), timezone=zone, gap=gap, fold=fold)


def slots(rule: Rule, after: datetime, before: datetime) -> list[datetime]:
    """Every slot in (after, before), each computed from the previous one."""
    found: list[datetime] = []
    slot = rule.next_after(after)
    while slot is not None and slot < before:
        assert slot.tzinfo is UTC
        assert slot > (found[-1] if found else after)
        found.append(slot)
        slot = rule.next_after(slot)
    return found


def shown(rule: Rule, after: str, before: str, zone: str) -> list[str]:
    """The slots as the clock of the zone shows them, with offset."""
    info = ZoneInfo(zone)
    return [f"{slot.astimezone(info):%d %H:%M%z}" for slot in slots(rule, instant(after), instant(before))]


# --- the oracle ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """A random expression with the values of its fields, which the generator knows."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    month_days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    @property
    def fixed(self) -> bool:
        minute, hour, *_ = self.text.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.month in self.months
            and self._matches_day(wall)
        )

    def _matches_day(self, wall: datetime) -> bool:
        by_month_day = self.month_days is None or wall.day in self.month_days
        by_weekday = self.weekdays is None or wall.isoweekday() % 7 in self.weekdays
        if self.month_days is not None and self.weekdays is not None:
            return by_month_day or by_weekday
        return by_month_day and by_weekday


class Generator:
    """Makes expressions with many matches at night, when clocks change."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def sample(self) -> Sample:
        minute, minutes = self._minutes()
        hour, hours = self._hours()
        month_day, month_days = self._rarely("*", None, 0.25, 1, 31)
        month, months = self._rarely("*", frozenset(range(1, 13)), 0.2, 1, 12)
        weekday, weekdays = self._rarely("*", None, 0.25, 0, 6)
        assert months is not None
        text = f"{minute} {hour} {month_day} {month} {weekday}"
        return Sample(text, minutes, hours, month_days, months, weekdays)

    def _minutes(self) -> tuple[str, frozenset[int]]:
        kind = self._chance.random()
        if kind < 0.08:
            return "*", frozenset(range(60))
        if kind < 0.25:
            step = self._chance.choice([7, 10, 15, 17, 20, 25, 30, 45])
            return f"*/{step}", frozenset(range(0, 60, step))
        return self._values(0, 59)

    def _hours(self) -> tuple[str, frozenset[int]]:
        kind = self._chance.random()
        if kind < 0.2:
            return "*", frozenset(range(24))
        if kind < 0.35:
            step = self._chance.choice([2, 3, 5])
            return f"*/{step}", frozenset(range(0, 24, step))
        if kind < 0.85:
            return self._values(0, 4)
        return self._values(0, 23)

    def _values(self, low: int, high: int) -> tuple[str, frozenset[int]]:
        kind = self._chance.random()
        first, last = sorted(self._chance.sample(range(low, high + 1), 2))
        if kind < 0.4:
            return str(first), frozenset([first])
        if kind < 0.6:
            return f"{first},{last}", frozenset([first, last])
        if kind < 0.75 and last - first < 15:
            return f"{first}-{last}", frozenset(range(first, last + 1))
        step = self._chance.randint(1, 20)
        return f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))

    def _rarely(
        self, text: str, values: frozenset[int] | None, share: float, low: int, high: int
    ) -> tuple[str, frozenset[int] | None]:
        if self._chance.random() >= share:
            return text, values
        wide = self._chance.sample(range(low, high + 1), (high - low + 1) * 2 // 3)
        return ",".join(map(str, wide)), frozenset(wide)


@cache
def walk(zone: str, start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Each minute of real time with its local time."""
    info = ZoneInfo(zone)
    minutes = int((end - start) / MINUTE)
    return tuple((start + number * MINUTE, (start + number * MINUTE).astimezone(info)) for number in range(minutes))


def oracle(sample: Sample, gap: Gap, fold: Fold, clock: tuple[tuple[datetime, datetime], ...]) -> list[datetime]:
    """The same rules, minute by minute. The first minute only gives the local time before."""
    found: list[datetime] = []
    before = clock[0][1].replace(tzinfo=None)
    for real, local in clock[1:]:
        wall = local.replace(tzinfo=None, fold=0)
        second_pass = local.fold == 1
        due = sample.matches(wall) and not (sample.fixed and second_pass and fold is Fold.FIRST)
        missing = before + MINUTE
        while missing < wall:  # the local times of a gap
            due = due or (sample.fixed and gap is Gap.SHIFT and sample.matches(missing))
            missing += MINUTE
        before = wall
        if due:
            found.append(real)
    return found


WINDOWS = [
    ("Europe/Rome", "2026-03-29T01:00"),
    ("Europe/Rome", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("America/Sao_Paulo", "2018-02-18T02:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Africa/Casablanca", "2026-02-15T02:00"),
    ("Asia/Kolkata", "2026-03-29T01:00"),
    ("UTC", "2026-12-31T23:00"),
]
EXPRESSIONS = [generator.sample() for generator in [Generator(2026)] for _ in range(200)]


def policies(sample: Sample) -> Iterator[tuple[Gap, Fold]]:
    """The rules apply to fixed-time schedules only. For the other schedules one combination is enough."""
    if sample.fixed:
        yield from ((gap, fold) for gap in Gap for fold in Fold)
    else:
        yield Gap.SHIFT, Fold.FIRST


@pytest.mark.parametrize(("zone", "transition"), WINDOWS)
def test_no_slot_is_lost_and_none_is_doubled_beyond_the_rule(zone: str, transition: str) -> None:
    start, end = instant(transition) - 14 * HOUR, instant(transition) + 14 * HOUR
    clock = walk(zone, start, end)
    dispatched = 0
    for sample in EXPRESSIONS:
        for gap, fold in policies(sample):
            expected = oracle(sample, gap, fold, clock)
            assert slots(cron(sample.text, zone, gap, fold), start, end) == expected, (sample.text, gap, fold)
            dispatched += len(expected)
    assert dispatched > 1000


def test_the_samples_hold_what_the_oracle_is_for() -> None:
    assert len({sample.text for sample in EXPRESSIONS}) > 190
    assert 80 < sum(sample.fixed for sample in EXPRESSIONS) < 150
    assert sum(sample.month_days is not None and sample.weekdays is not None for sample in EXPRESSIONS) > 5


@pytest.mark.parametrize("gap", Gap)
@pytest.mark.parametrize("fold", Fold)
@pytest.mark.parametrize(("zone", "transition"), WINDOWS[:6])
def test_the_next_slot_does_not_depend_on_the_instant_of_the_question(
    zone: str, transition: str, gap: Gap, fold: Fold
) -> None:
    """For any instant, also within a second, the answer is the first slot after it."""
    chance = random.Random(transition)
    centre = instant(transition)
    clock = walk(zone, centre - 14 * HOUR, centre + 14 * HOUR)
    for sample in EXPRESSIONS[::4]:
        expected = oracle(sample, gap, fold, clock)
        rule = cron(sample.text, zone, gap, fold)
        for _ in range(5):
            after = centre + timedelta(microseconds=chance.randrange(-4 * 3600 * 10**6, 4 * 3600 * 10**6))
            later = [slot for slot in expected if slot > after]
            if later:
                assert rule.next_after(after) == later[0], (sample.text, after)


@pytest.mark.parametrize(
    "text", ["*/7 30 1 * * *", "59 59 1,2 * * *", "0,30 */20 * * * *", "5 0 2 * * *", "* 15 2 * * *"]
)
@pytest.mark.parametrize(("zone", "transition"), WINDOWS[:6])
def test_expressions_with_seconds_obey_the_same_rules(zone: str, transition: str, text: str) -> None:
    seconds, minutes, hours = (set(_field(part, size)) for part, size in zip(text.split(), (60, 60, 24), strict=False))
    info = ZoneInfo(zone)
    fixed = all(not part.startswith("*") for part in text.split()[1:3])
    start, end = instant(transition) - 2 * HOUR, instant(transition) + 2 * HOUR
    expected: list[datetime] = []
    before = (start - SECOND).astimezone(info).replace(tzinfo=None)
    at = start
    while at < end:
        local = at.astimezone(info)
        wall = local.replace(tzinfo=None, fold=0)
        walls = [wall] if not (fixed and local.fold) else []
        if fixed:
            walls += [before + number * SECOND for number in range(1, int((wall - before) / SECOND))]
        if any(w.second in seconds and w.minute in minutes and w.hour in hours for w in walls):
            expected.append(at)
        before = wall
        at += SECOND
    assert slots(cron(text, zone), start - SECOND, end) == expected


def _field(part: str, size: int) -> Iterator[int]:
    for item in part.split(","):
        if item.startswith("*"):
            yield from range(0, size, int(item[2:] or 1))
        else:
            yield int(item)


# --- the rules, one by one -------------------------------------------------------------------------------------------


def test_a_fixed_time_inside_a_gap_shifts_to_the_first_instant_after_it() -> None:
    rule = cron("30 2 * * *", "Europe/Rome")
    assert shown(rule, "2026-03-28", "2026-03-31", "Europe/Rome") == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]


def test_slots_that_are_shifted_to_one_instant_are_one_slot() -> None:
    rule = cron("0,20,40 2,3 * * *", "Europe/Rome")
    assert shown(rule, "2026-03-29", "2026-03-29T12:00", "Europe/Rome") == [
        "29 03:00+0200",
        "29 03:20+0200",
        "29 03:40+0200",
    ]


def test_a_fixed_time_inside_a_gap_may_be_skipped() -> None:
    rule = cron("30 2 * * *", "Europe/Rome", gap=Gap.SKIP)
    assert shown(rule, "2026-03-28", "2026-03-31", "Europe/Rome") == ["28 02:30+0100", "30 02:30+0200"]


def test_a_fixed_time_inside_a_fold_runs_in_the_first_pass() -> None:
    rule = cron("30 1 * * *", "America/New_York")
    expected = ["31 01:30-0400", "01 01:30-0400", "02 01:30-0500"]
    assert shown(rule, "2026-10-31", "2026-11-03", "America/New_York") == expected


def test_a_fixed_time_inside_a_fold_may_run_in_both_passes() -> None:
    rule = cron("30 1 * * *", "America/New_York", fold=Fold.BOTH)
    expected = ["31 01:30-0400", "01 01:30-0400", "01 01:30-0500", "02 01:30-0500"]
    assert shown(rule, "2026-10-31", "2026-11-03", "America/New_York") == expected


def test_the_second_pass_of_a_yearly_run_is_not_jumped_over() -> None:
    rule = cron("45 1 5 4 *", "Australia/Lord_Howe", fold=Fold.BOTH)
    expected = ["05 01:45+1100", "05 01:45+1030"]
    assert shown(rule, "2026-01-01", "2026-12-31", "Australia/Lord_Howe") == expected
    assert rule.next_after(instant("2026-04-04T14:50")) == instant("2026-04-04T15:15")


def test_a_slot_right_before_a_change_of_clocks_is_found_from_far_away() -> None:
    rule = cron("0 1 4 4 *", "Australia/Lord_Howe")
    assert shown(rule, "2026-06-01", "2027-12-31", "Australia/Lord_Howe") == ["04 01:00+1100"]


def test_every_other_schedule_follows_real_time() -> None:
    quarter = cron("*/15 * * * *", "Australia/Lord_Howe")
    for transition in ("2026-04-04T15:00", "2026-10-03T15:30"):
        found = slots(quarter, instant(transition) - 3 * HOUR - SECOND, instant(transition) + 3 * HOUR)
        assert found == [instant(transition) + number * 15 * MINUTE for number in range(-12, 12)]
    hourly = cron("30 * * * *", "Europe/Rome")
    assert shown(hourly, "2026-10-24T23:00", "2026-10-25T02:00", "Europe/Rome") == [
        "25 01:30+0200",
        "25 02:30+0200",
        "25 02:30+0100",
    ]


def test_a_wildcard_schedule_has_no_slot_in_a_gap_with_any_rule() -> None:
    rule = cron("30 */2 * * *", "Europe/Rome", gap=Gap.SHIFT)
    assert shown(rule, "2026-03-28T23:00", "2026-03-29T05:00", "Europe/Rome") == [
        "29 00:30+0100",
        "29 04:30+0200",
        "29 06:30+0200",
    ]


def test_midnight_itself_may_be_missing() -> None:
    rule = cron("@daily", "America/Sao_Paulo")
    expected = ["03 00:00-0300", "04 01:00-0200", "05 00:00-0200"]
    assert shown(rule, "2018-11-03", "2018-11-06", "America/Sao_Paulo") == expected


def test_a_missing_day_is_a_gap_like_any_other() -> None:
    rule = cron("0 9 * * *", "Pacific/Apia")
    expected = ["29 09:00-1000", "31 00:00+1400", "31 09:00+1400"]
    assert shown(rule, "2011-12-29T12:00", "2011-12-31T12:00", "Pacific/Apia") == expected


def test_a_leap_day_is_found_over_eight_years() -> None:
    assert cron("0 0 29 2 *", "Europe/Rome").next_after(instant("2096-03-01")) == instant("2104-02-28T23:00")


def test_the_rarest_expression_is_found_over_forty_years() -> None:
    rule = cron("0 0 * 2 MON#5", "America/New_York")
    assert rule.next_after(instant("2072-02-29T05:00")) == instant("2112-02-29T05:00")


def test_a_rule_whose_every_match_is_skipped_ends() -> None:
    """02:30 on the last Sunday of March is the gap itself."""
    assert cron("30 2 * 3 L0", "Europe/Rome", gap=Gap.SKIP).next_after(instant("2026-01-01")) is None


@pytest.mark.parametrize("zone", ["UTC", "Europe/Rome", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar_are_no_errors(zone: str) -> None:
    rule = cron("0 0 * * *", zone)
    last = datetime.max.replace(tzinfo=UTC)
    assert rule.next_after(last) is None
    assert rule.next_after(instant("9999-01-01")) is None
    assert rule.next_after(instant("9998-12-31T23:59:59")) is None
    assert rule.next_after(instant("9998-06-01")) is not None
    first = rule.next_after(datetime.min.replace(tzinfo=UTC))
    assert first is not None
    assert EPOCH <= first < EPOCH + 25 * HOUR
    assert Every(interval=HOUR).next_after(last) is None
    assert Every(interval=HOUR).next_after(instant("9998-12-31T22:59:59")) == instant("9998-12-31T23:00")
    assert Every(interval=366 * 24 * HOUR).next_after(instant("9998-12-31T23:00")) is None
    assert At(instants=(EPOCH,)).next_after(last) is None


def test_rules_are_values() -> None:
    assert cron("0 9 * * *", "Europe/Rome") == cron("0 9 * * *", "Europe/Rome")
    assert hash(cron("0 9 * * *")) == hash(cron("0 9 * * *"))
    assert cron("0 9 * * *", gap=Gap.SKIP) != cron("0 9 * * *")
    assert len({Every(interval=HOUR), Every(interval=60 * MINUTE), At(instants=(EPOCH,))}) == 2


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    elsewhere = instant("2026-05-05T07:30").astimezone(timezone(timedelta(hours=5)))
    for rule in (cron("0 9 * * *"), Every(interval=HOUR), At(instants=(instant("2026-06-01"),))):
        assert rule.next_after(elsewhere) == rule.next_after(instant("2026-05-05T07:30"))


def test_a_naive_instant_is_refused() -> None:
    naive = instant("2026-05-05").replace(tzinfo=None)
    for rule in (cron("0 9 * * *"), Every(interval=HOUR), At(instants=(EPOCH,))):
        with pytest.raises(InvalidPolicy):
            rule.next_after(naive)
    with pytest.raises(InvalidPolicy) as caught:
        At(instants=(naive,))
    assert caught.value.field == "run_at"


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidTimezone):
        cron("0 9 * * *", "Europe/Roma")


@pytest.mark.parametrize(
    ("field", "value"), [("gap", "shift"), ("gap", None), ("gap", Fold.BOTH), ("fold", []), ("fold", 1)]
)
def test_an_unknown_dst_rule_is_refused_with_the_name_of_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        Cron(expression=CronExpression.parse("0 9 * * *"), **{field: value})  # type: ignore[arg-type]  # hostile input
    assert caught.value.field == field


# --- real time -------------------------------------------------------------------------------------------------------


@given(
    st.integers(1000, 366 * 86_400_000),
    st.floats(0, 1, exclude_max=True),
    st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # bounds are naive
)
def test_an_interval_counts_from_the_epoch_and_never_skips(interval: int, share: float, after: datetime) -> None:
    phase = int(interval * share)
    rule = Every(interval=timedelta(milliseconds=interval), phase=timedelta(milliseconds=phase))
    slot = rule.next_after(after)
    assert slot is not None
    assert timedelta(0) < slot - after <= rule.interval
    assert (slot - EPOCH - rule.phase) % rule.interval == timedelta(0)
    assert rule.next_after(slot) == slot + rule.interval


def test_an_interval_crosses_a_change_of_clocks_unmoved() -> None:
    found = slots(Every(interval=HOUR, phase=10 * MINUTE), instant("2026-03-29T00:00"), instant("2026-03-29T04:00"))
    assert found == [instant(f"2026-03-29T{hour:02}:10") for hour in range(4)]


@pytest.mark.parametrize(
    ("interval", "phase", "field"),
    [
        (timedelta(milliseconds=999), timedelta(0), "interval"),
        (timedelta(0), timedelta(0), "interval"),
        (timedelta(seconds=-5), timedelta(0), "interval"),
        (timedelta(days=366, seconds=1), timedelta(0), "interval"),
        (timedelta(seconds=1, microseconds=1), timedelta(0), "interval"),
        (90, timedelta(0), "interval"),
        (None, timedelta(0), "interval"),
        (timedelta(seconds=90), timedelta(seconds=90), "phase"),
        (timedelta(seconds=90), timedelta(seconds=-1), "phase"),
        (timedelta(seconds=90), timedelta(microseconds=5), "phase"),
        (timedelta(seconds=90), "5s", "phase"),
    ],
)
def test_an_impossible_interval_is_refused_with_the_name_of_the_field(
    interval: object, phase: object, field: str
) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        Every(interval=interval, phase=phase)  # type: ignore[arg-type]  # hostile input is the point
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Every(interval=90 * SECOND), "every 90s"),
        (Every(interval=timedelta(milliseconds=1500)), "every 1.5s"),
        (Every(interval=timedelta(days=1), phase=HOUR), "every 86400s from +3600s"),
        (At(instants=(instant("2026-05-05"),)), "at 2026-05-05T00:00:00Z"),
        (At(instants=tuple(EPOCH + n * HOUR for n in range(9))), f"at 1970-01-01T00:00:00Z, {LATER} and 6 more"),
        (cron("@Daily"), "@Daily"),
    ],
)
def test_a_rule_has_a_readable_text(rule: Rule, text: str) -> None:
    assert rule.text == text


# --- known instants --------------------------------------------------------------------------------------------------


def test_instants_are_kept_in_utc_in_order_and_once() -> None:
    rome = datetime(2026, 5, 5, 12, tzinfo=ZoneInfo("Europe/Rome"))
    rule = At(instants=(instant("2026-07-01"), rome, instant("2026-05-05T10:00"), instant("2026-06-01")))
    assert rule.instants == (instant("2026-05-05T10:00"), instant("2026-06-01"), instant("2026-07-01"))
    assert slots(rule, EPOCH, instant("2027-01-01")) == list(rule.instants)
    assert rule.next_after(instant("2026-07-01")) is None


def test_instants_are_cut_to_the_milliseconds_that_stores_keep() -> None:
    rule = At(instants=(EPOCH + timedelta(microseconds=1_234_567),))
    assert rule.instants == (EPOCH + timedelta(milliseconds=1234),)


@pytest.mark.parametrize(
    "instants",
    [
        (),
        tuple(EPOCH + n * SECOND for n in range(1001)),
        ("2026-01-01",),
        (None,),
        (datetime.min.replace(tzinfo=UTC),),
        (EPOCH - SECOND,),
        (EPOCH, instant("9999-01-01")),
        (datetime.max.replace(tzinfo=timezone(-HOUR)),),
    ],
)
def test_impossible_instants_are_refused(instants: tuple[datetime, ...]) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        At(instants=instants)
    assert caught.value.field == "run_at"
