"""The coming slots and their notes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.preview import Upcoming, upcoming
from task_manager_core.domain.recurrence import At, Every, Fold, Gap
from task_manager_core.domain.schedule import Schedule

HOUR = timedelta(hours=1)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NEW_YEAR = instant("2026-01-01")


def lines(schedule: Schedule, after: str, count: int) -> list[tuple[str, str | None]]:
    return [(f"{each.local:%d %H:%M%z}", each.note) for each in upcoming(schedule, instant(after), count)]


def test_slots_come_in_order_with_the_local_time_and_its_offset() -> None:
    first, second = upcoming(Schedule.cron("30 9 * * *", timezone="Asia/Kolkata"), NEW_YEAR, 2)
    assert first == Upcoming(slot=instant("2026-01-01T04:00"), local=first.local)
    assert first.local.isoformat() == "2026-01-01T09:30:00+05:30"
    assert second.slot == instant("2026-01-02T04:00")


def test_the_preview_is_what_the_schedule_does() -> None:
    for zone in ("Europe/Rome", "Australia/Lord_Howe", "UTC"):
        schedule = Schedule.cron(["*/17 1-3 * * *", "30 2 * * *", "@hourly"], timezone=zone, fold=Fold.BOTH)
        for after in ("2026-03-28T12:00", "2026-04-04T00:00", "2026-10-03T00:00", "2026-10-24T12:00"):
            at, expected = instant(after), list[datetime]()
            while len(expected) < 80:
                slot = schedule.next_after(at)
                assert slot is not None
                expected.append(slot)
                at = slot
            assert [each.slot for each in upcoming(schedule, instant(after), 80)] == expected


def test_a_shifted_slot_says_what_did_not_exist() -> None:
    assert lines(Schedule.cron("30 2 * * *", timezone="Europe/Rome"), "2026-03-28T12:00", 2) == [
        ("29 03:00+0200", "02:30 does not exist on this day in Europe/Rome: shifted to 03:00"),
        ("30 02:30+0200", None),
    ]


def test_slots_that_are_shifted_to_one_instant_have_a_note() -> None:
    assert lines(Schedule.cron("0,20 2,3 * * *", timezone="Europe/Rome"), "2026-03-28T12:00", 2) == [
        ("29 03:00+0200", "02:00 and others do not exist on this day in Europe/Rome: shifted to 03:00"),
        ("29 03:20+0200", None),
    ]


def test_the_slot_after_a_skipped_one_says_so() -> None:
    schedule = Schedule.cron("30 2 * * *", timezone="Europe/Rome", gap=Gap.SKIP)
    assert lines(schedule, "2026-03-28T12:00", 2) == [
        ("30 02:30+0200", "02:30 on 2026-03-29 does not exist and was skipped"),
        ("31 02:30+0200", None),
    ]
    assert lines(schedule, "2026-03-29T01:00", 1) == [("30 02:30+0200", None)]


def test_a_wildcard_schedule_follows_real_time_and_has_no_rule_to_speak_of() -> None:
    assert lines(Schedule.cron("0 * * * *", timezone="Europe/Rome"), "2026-03-29T00:00", 2) == [
        ("29 03:00+0200", None),
        ("29 04:00+0200", None),
    ]
    assert lines(Schedule.cron("0 * * * *", timezone="Europe/Rome"), "2026-10-24T23:00", 3) == [
        ("25 02:00+0200", None),
        ("25 02:00+0100", None),
        ("25 03:00+0100", None),
    ]


def test_a_missing_midnight_is_noted() -> None:
    assert lines(Schedule.cron("@daily", timezone="America/Sao_Paulo"), "2018-11-03T12:00", 2) == [
        ("04 01:00-0200", "00:00 does not exist on this day in America/Sao_Paulo: shifted to 01:00"),
        ("05 00:00-0200", None),
    ]


def test_the_only_pass_of_a_repeated_time_says_so() -> None:
    assert lines(Schedule.cron("30 1 * * *", timezone="America/New_York"), "2026-10-31T12:00", 2) == [
        ("01 01:30-0400", "01:30 happens twice on this day: the first pass"),
        ("02 01:30-0500", None),
    ]


def test_both_passes_say_which_one_they_are() -> None:
    schedule = Schedule.cron("30 1 * * *", timezone="America/New_York", fold=Fold.BOTH)
    assert lines(schedule, "2026-10-31T12:00", 3) == [
        ("01 01:30-0400", "01:30 happens twice on this day: both passes run (first)"),
        ("01 01:30-0500", "01:30 happens twice on this day: both passes run (second)"),
        ("02 01:30-0500", None),
    ]


def test_seconds_are_shown_when_there_are_any() -> None:
    (first,) = lines(Schedule.cron("15 30 2 * * *", timezone="Europe/Rome"), "2026-03-28T12:00", 1)
    assert first[1] == "02:30:15 does not exist on this day in Europe/Rome: shifted to 03:00"


def test_rules_with_a_common_slot_are_one_line_in_the_zone_of_the_first() -> None:
    rome, utc_rule = (
        Schedule.cron("30 2 * * *", timezone="Europe/Rome").rules[0],
        Schedule.cron("0 1 * * *", timezone="UTC").rules[0],
    )
    both = Schedule(rules=(rome, utc_rule, Every(interval=HOUR)))
    note = "02:30 does not exist on this day in Europe/Rome: shifted to 03:00"
    assert lines(both, "2026-03-29T00:00", 2) == [("29 03:00+0200", note), ("29 02:00+0000", None)]


def test_rules_without_a_zone_are_shown_in_utc_without_notes() -> None:
    schedule = Schedule(rules=(Every(interval=6 * HOUR), At(instants=(instant("2026-10-25T01:30"),))))
    assert lines(schedule, "2026-10-25T00:00", 2) == [("25 01:30+0000", None), ("25 06:00+0000", None)]


def test_a_preview_keeps_the_bounds_of_the_schedule() -> None:
    schedule = Schedule.cron("0 * * * *", start_at=NEW_YEAR, end_at=NEW_YEAR + 3 * HOUR)
    assert [each.slot.hour for each in upcoming(schedule, instant("2025-01-01"), 10)] == [0, 1, 2]
    assert upcoming(schedule, NEW_YEAR + 9 * HOUR, 10) == ()


def test_a_missing_time_before_the_start_is_not_noted() -> None:
    start = instant("2026-03-29T12:00")
    schedule = Schedule.cron("30 2 * * *", timezone="Europe/Rome", gap=Gap.SKIP, start_at=start)
    assert lines(schedule, "2026-03-01", 1) == [("30 02:30+0200", None)]


def test_a_long_preview_of_a_rare_rule_stays_cheap() -> None:
    schedule = Schedule.cron("0 0 29 2 *", timezone="Europe/Rome", gap=Gap.SKIP)
    shown = upcoming(schedule, NEW_YEAR, 1000)
    assert len(shown) == 1000
    assert shown[-1].local.year > 6000


@pytest.mark.parametrize("count", [0, -1, 1001, 10**30, "5", None, 2.5])
def test_an_impossible_count_is_refused(count: object) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        upcoming(Schedule.every(HOUR), NEW_YEAR, count)  # type: ignore[arg-type]  # hostile input is the point
    assert caught.value.field == "count"


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(InvalidPolicy) as caught:
        upcoming(Schedule.every(HOUR, start_at=NEW_YEAR), NEW_YEAR.replace(tzinfo=None), 1)
    assert caught.value.field == "start"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("start", ["0001-01-01", "1969-12-31T23:59:59", "9999-01-01", "9999-12-31T23:59:59"])
def test_a_start_outside_of_the_known_years_is_refused(zone: str, start: str) -> None:
    with pytest.raises(InvalidPolicy, match="years 1970 and 9998") as caught:
        upcoming(Schedule.cron("0 0 * * *", timezone=zone), instant(start), 1)
    assert caught.value.field == "start"


@pytest.mark.parametrize("gap", Gap)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_known_years_are_no_errors(zone: str, gap: Gap) -> None:
    schedule = Schedule.cron(["0 0 * * *", "30 2 * * *"], timezone=zone, gap=gap, fold=Fold.BOTH)
    assert len(upcoming(schedule, instant("1970-01-01"), 1000)) == 1000
    assert len(upcoming(schedule, instant("9998-12-01"), 1000)) < 64
