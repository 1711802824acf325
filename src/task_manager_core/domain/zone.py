"""Time zones as segments of constant offset.

zoneinfo gives the offset of an instant and does not list the transitions, so this module searches for them. It compares
offsets a day apart (since 1970 no zone changed twice within six days) and then bisects to the second. The result is
cached for each zone and year.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from task_manager_core.domain.errors import InvalidTimezone

FIRST_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(9999, 1, 1, tzinfo=UTC)
"""The segments cover [FIRST_INSTANT, LAST_INSTANT). Outside of it a local time may not fit into a datetime."""

_SECOND = timedelta(seconds=1)
_STEP = timedelta(days=1)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+\-/]{0,99}", re.ASCII)
_ELSEWHERE = ("localtime", "posixrules", "Factory")
"""Names in the folder of the database whose content depends on the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The instants [start, end) with one offset. `previous` is the offset right before the start.

    If previous < offset, the segment begins after a gap. If previous > offset, its first local times repeat those
    before it.
    """

    start: datetime
    end: datetime
    offset: timedelta
    previous: timedelta


_UTC_SEGMENT = Segment(start=FIRST_INSTANT, end=LAST_INSTANT, offset=timedelta(0), previous=timedelta(0))


def load_zone(name: str, field: str = "timezone") -> ZoneInfo:
    """The zone of this IANA name, or InvalidTimezone naming `field`."""
    zone = _load(_checked_name(name, field))
    if zone is None:
        raise InvalidTimezone(field, name, "the time zone database does not know this name")
    return zone


def segment_at(zone: str, instant: datetime) -> Segment:
    """The segment that holds this UTC instant of [FIRST_INSTANT, LAST_INSTANT). A new year begins a new segment."""
    if zone == "UTC":
        return _UTC_SEGMENT
    for segment in _segments_of_year(zone, instant.year):
        if instant < segment.end:
            return segment
    raise AssertionError("the segments of a year reach its end")


def wall_clock(instant: datetime, offset: timedelta) -> datetime:
    """The naive local time at this offset."""
    return (instant + offset).replace(tzinfo=None)


def _checked_name(name: object, field: str) -> str:
    if not isinstance(name, str):
        raise InvalidTimezone(field, name, "must be text")
    if not _NAME.fullmatch(name) or name.startswith("right/") or name in _ELSEWHERE:
        raise InvalidTimezone(field, name, "must be a name of the IANA time zone database, such as Europe/Rome")
    return name


@lru_cache(maxsize=1024)
def _load(name: str) -> ZoneInfo | None:
    """ZoneInfoNotFoundError is a KeyError; a directory or a stray file raises the other two."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


@lru_cache(maxsize=8192)
def _segments_of_year(zone: str, year: int) -> tuple[Segment, ...]:
    info = load_zone(zone)
    start = datetime(year, 1, 1, tzinfo=UTC)
    year_end = datetime(year + 1, 1, 1, tzinfo=UTC)
    previous = _offset(info, start - _SECOND)
    offset = _offset(info, start)
    segments: list[Segment] = []
    known, last = start, year_end - _SECOND
    while known < last:
        probe = min(known + _STEP, last)
        if _offset(info, probe) == offset:
            known = probe
            continue
        change = _first_change(info, known, probe)
        segments.append(Segment(start=start, end=change, offset=offset, previous=previous))
        start, previous, offset = change, offset, _offset(info, change)
        known = change
    segments.append(Segment(start=start, end=year_end, offset=offset, previous=previous))
    return tuple(segments)


def _first_change(info: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second of the new offset in (low, high]; the offset at `low` is still the old one."""
    old = _offset(info, low)
    while high - low > _SECOND:
        middle = low + (high - low) // (2 * _SECOND) * _SECOND
        if _offset(info, middle) == old:
            low = middle
        else:
            high = middle
    return high


def _offset(info: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(info).replace(tzinfo=None) - instant.replace(tzinfo=None)
