"""Zones as segments of constant offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

import pytest

from task_manager_core.domain.errors import InvalidTimezone
from task_manager_core.domain.zone import FIRST_INSTANT, LAST_INSTANT, Segment, load_zone, segment_at, wall_clock

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def segments_of(zone: str, year: int) -> list[Segment]:
    found: list[Segment] = []
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        found.append(segment_at(zone, at))
        at = found[-1].end
    return found


def changes(zone: str, year: int) -> list[tuple[str, timedelta]]:
    return [
        (segment.start.replace(tzinfo=None).isoformat(), segment.offset - segment.previous)
        for segment in segments_of(zone, year)
        if segment.offset != segment.previous
    ]


@pytest.mark.parametrize(
    ("zone", "year", "expected"),
    [
        ("Europe/Rome", 2026, [("2026-03-29T01:00:00", HOUR), ("2026-10-25T01:00:00", -HOUR)]),
        ("America/New_York", 2026, [("2026-03-08T07:00:00", HOUR), ("2026-11-01T06:00:00", -HOUR)]),
        ("Australia/Lord_Howe", 2026, [("2026-04-04T15:00:00", -HOUR / 2), ("2026-10-03T15:30:00", HOUR / 2)]),
        ("America/Sao_Paulo", 2018, [("2018-02-18T02:00:00", -HOUR), ("2018-11-04T03:00:00", HOUR)]),
        ("Pacific/Kwajalein", 1993, [("1993-08-21T12:00:00", 24 * HOUR)]),
        ("Africa/Monrovia", 1972, [("1972-01-07T00:44:30", timedelta(minutes=44, seconds=30))]),
        ("Europe/Paris", 1911, [("1911-03-10T23:50:39", timedelta(minutes=-9, seconds=-21))]),
        ("Europe/Moscow", 1916, [("1916-07-02T21:29:43", timedelta(minutes=1, seconds=2))]),
        ("Africa/Sao_Tome", 2017, []),
        ("Africa/Sao_Tome", 2018, [("2018-01-01T01:00:00", HOUR)]),
        ("Africa/Sao_Tome", 2019, [("2019-01-01T01:00:00", -HOUR)]),
        ("Asia/Kolkata", 2026, []),
        ("UTC", 2026, []),
        ("Europe/Rome", 9998, [("9998-03-29T01:00:00", HOUR), ("9998-10-25T01:00:00", -HOUR)]),
    ],
)
def test_the_transitions_of_a_year_are_found_to_the_second(
    zone: str, year: int, expected: list[tuple[str, timedelta]]
) -> None:
    assert changes(zone, year) == expected


@pytest.mark.parametrize("zone", sorted(set(available_timezones()) - {"localtime", "Factory"})[::9])
def test_segments_agree_with_the_zone_at_every_hour_and_leave_no_hole(zone: str) -> None:
    info = load_zone(zone)
    segments = segments_of(zone, 2024)
    if zone == "UTC":
        assert segments == [segment_at(zone, FIRST_INSTANT)]
        return
    for before, after in pairwise(segments):
        assert before.end == after.start
        assert before.offset == after.previous
    for segment in segments:
        at = segment.start
        while at < segment.end:
            assert at.astimezone(info).utcoffset() == segment.offset
            at += HOUR
        assert (segment.end - SECOND).astimezone(info).utcoffset() == segment.offset
        assert (segment.start - SECOND).astimezone(info).utcoffset() == segment.previous


def test_utc_is_one_segment() -> None:
    segment = segment_at("UTC", datetime(2026, 5, 5, tzinfo=UTC))
    assert (segment.start, segment.end, segment.offset) == (FIRST_INSTANT, LAST_INSTANT, timedelta(0))


def test_a_wall_clock_is_naive() -> None:
    shown = wall_clock(datetime(2026, 7, 1, 12, tzinfo=UTC), 2 * HOUR)
    assert shown.isoformat() == "2026-07-01T14:00:00"


@pytest.mark.parametrize("name", ["UTC", "Europe/Rome", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"])
def test_a_known_zone_is_loaded(name: str) -> None:
    assert load_zone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "Europe/Roma",
        "Europe",
        "europe",
        "../x",
        "../../../../etc/passwd",
        "/etc/localtime",
        "Europe/../UTC",
        "Europe/Rome/",
        "Europe//Rome",
        "Europe/Rome\n",
        " Europe/Rome",
        "Europe\\Rome",
        "./UTC",
        ".",
        "UTC\x00",
        "\ud800",
        "U\u0422C",
        "+02:00",
        "x" * 101,
        "x" * 1_000_000,
        "Europe/" * 20,
        "localtime",
        "posixrules",
        "Factory",
        "right/Europe/Rome",
        "zone.tab",
        "leapseconds",
        "tzdata.zi",
        "__init__.py",
        None,
        5,
        b"UTC",
        ["UTC"],
        UTC,
    ],
)
def test_anything_else_is_refused_with_the_name_of_the_field(name: object) -> None:
    with pytest.raises(InvalidTimezone) as caught:
        load_zone(name, "group.timezone")  # type: ignore[arg-type]  # hostile input is the point
    assert caught.value.field == "group.timezone"
    assert len(str(caught.value)) < 400
