"""The rules of a schedule: cron, interval, instants. Each rule is data with one method, `next_after`.

Cron and daylight saving, after Debian's cron. Take the wall-clock times that match the expression.

* A schedule is fixed-time when neither its minute nor its hour begins with `*`: "30 2 * * *".
  - A match inside a gap (02:30 in the night that springs forward): SHIFT runs it at the first instant after the gap,
    once, also if other matches move there; SKIP drops it.
  - A match inside a fold (a time that happens twice): FIRST runs the first pass only; BOTH runs both.
* Every other schedule follows real time: each local time that exists runs, in both passes of a fold; a gap has no slot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.policy import require
from task_manager_core.domain.zone import FIRST_INSTANT, LAST_INSTANT, Segment, load_zone, segment_at, wall_clock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST_INTERVAL = timedelta(seconds=1)
LONGEST_INTERVAL = timedelta(days=366)
MOST_INSTANTS = 1000

_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_HORIZON = timedelta(days=41 * 366)
"""The rarest expression ("0 0 * 2 MON#5") has 40 years between two matches."""


class Gap(Enum):
    """What a fixed-time schedule does with a local time that does not exist."""

    SHIFT = "shift"
    SKIP = "skip"


class Fold(Enum):
    """What a fixed-time schedule does with a local time that happens twice."""

    FIRST = "first"
    BOTH = "both"


def utc(field: str, instant: object) -> datetime:
    """The instant in UTC, cut to the milliseconds that a store keeps. A naive datetime is refused."""
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise InvalidPolicy(field, instant, "must be a datetime with a time zone")
    try:
        moved = instant.astimezone(UTC)
    except OverflowError:
        raise InvalidPolicy(field, instant, "must lie between the years 1 and 9999") from None
    return moved.replace(microsecond=moved.microsecond // 1000 * 1000)


def calendar_instant(field: str, instant: object) -> datetime:
    """The same for an instant in a definition, which must lie within the years that all rules know.

    A duration can then be added to it without leaving the calendar.
    """
    moved = utc(field, instant)
    require(
        FIRST_INSTANT <= moved < LAST_INSTANT,
        field,
        moved.isoformat(),
        f"must lie between the years {FIRST_INSTANT.year} and {LAST_INSTANT.year - 1}",
    )
    return moved


def _in_utc(instant: datetime) -> datetime:
    """The instant in UTC. Arithmetic in a local zone would count hours of the wrong length."""
    return instant if instant.tzinfo is UTC else utc("instant", instant)


def whole_milliseconds(field: str, value: object) -> timedelta:
    """The value, if it is a timedelta of whole milliseconds."""
    if not isinstance(value, timedelta):
        raise InvalidPolicy(field, value, "must be a timedelta")
    require(not value % _MILLISECOND, field, value.total_seconds(), "must be a whole number of milliseconds")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The wall-clock times of a zone that match a cron expression."""

    expression: CronExpression
    timezone: str = "UTC"
    gap: Gap = Gap.SHIFT
    fold: Fold = Fold.FIRST

    def __post_init__(self) -> None:
        load_zone(self.timezone)
        require(self.gap in tuple(Gap), "gap", self.gap, "must be Gap.SHIFT or Gap.SKIP")
        require(self.fold in tuple(Fold), "fold", self.fold, "must be Fold.FIRST or Fold.BOTH")

    @property
    def text(self) -> str:
        return self.expression.text

    @property
    def shifts(self) -> bool:
        """Does a match inside a gap run at its end?"""
        return self.expression.is_fixed_time and self.gap is Gap.SHIFT

    @property
    def first_pass_only(self) -> bool:
        """Does a match inside a fold run once?"""
        return self.expression.is_fixed_time and self.fold is Fold.FIRST

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot after this instant, in UTC; None when there is none within 41 years or before year 9999."""
        return _next_slot(self, _in_utc(instant).replace(microsecond=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Instants at a constant distance: epoch + phase + k × interval. Every process computes the same instants."""

    interval: timedelta
    phase: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        interval, phase = whole_milliseconds("interval", self.interval), whole_milliseconds("phase", self.phase)
        require(
            SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL,
            "interval",
            interval.total_seconds(),
            f"must be {seconds(SHORTEST_INTERVAL)} to {seconds(LONGEST_INTERVAL)}",
        )
        require(
            timedelta(0) <= phase < interval,
            "phase",
            phase.total_seconds(),
            f"must not be negative and be less than interval={interval.total_seconds()}",
        )

    @property
    def text(self) -> str:
        return f"every {seconds(self.interval)}" + (f" from +{seconds(self.phase)}" if self.phase else "")

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot after this instant, in UTC; None when there is none before year 9999."""
        origin = EPOCH + self.phase
        distance = ((_in_utc(instant) - origin) // self.interval + 1) * self.interval
        return origin + distance if distance < LAST_INSTANT - origin else None


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Single runs at given instants. They are kept in UTC, in order and without repetition."""

    instants: tuple[datetime, ...]

    def __post_init__(self) -> None:
        given = len(self.instants)
        require(1 <= given <= MOST_INSTANTS, "run_at", given, f"must be 1 to {MOST_INSTANTS} instants")
        instants = sorted({calendar_instant("run_at", instant) for instant in self.instants})
        object.__setattr__(self, "instants", tuple(instants))

    @property
    def text(self) -> str:
        shown = ", ".join(instant.isoformat().replace("+00:00", "Z") for instant in self.instants[:3])
        return f"at {shown}" + (f" and {len(self.instants) - 3} more" if len(self.instants) > 3 else "")

    def next_after(self, instant: datetime) -> datetime | None:
        """The first instant after this one; None after the last."""
        index = bisect_right(self.instants, _in_utc(instant))
        return self.instants[index] if index < len(self.instants) else None


Rule: TypeAlias = Cron | Every | At


def seconds(length: timedelta) -> str:
    """A length as "90s" or "1.5s"."""
    return f"{length.total_seconds():.3f}".rstrip("0").rstrip(".") + "s"


def earliest(instants: Iterable[datetime | None]) -> datetime | None:
    """The earliest of the instants that are not None."""
    return min((instant for instant in instants if instant is not None), default=None)


@lru_cache(maxsize=65536)
def _next_slot(rule: Cron, after: datetime) -> datetime | None:
    """The next slot, found segment by segment. `after` is a whole second, and so is every slot."""
    if after >= LAST_INSTANT - _SECOND:
        return None
    first = max(after + _SECOND, FIRST_INSTANT)
    matches = _Matches(rule.expression)
    segment: Segment | None = segment_at(rule.timezone, first)
    while segment is not None and segment.start - first < _HORIZON:
        slot = _slot_in(segment, rule, first, matches)
        if slot is not None:
            return slot
        segment = _next_segment(rule.timezone, segment, matches)
    return None


def _slot_in(segment: Segment, rule: Cron, first: datetime, matches: _Matches) -> datetime | None:
    """The first slot in this segment that is not before `first`."""
    if rule.shifts and segment.start >= first and _holds_missing_match(segment, matches):
        return segment.start
    low = wall_clock(max(segment.start, first), segment.offset)
    if rule.first_pass_only:
        low = max(low, wall_clock(segment.start, segment.previous))
    match = matches.first(low)
    if match is None or match >= wall_clock(segment.end, segment.offset):
        return None
    return match.replace(tzinfo=UTC) - segment.offset


def _holds_missing_match(segment: Segment, matches: _Matches) -> bool:
    """Does a match lie in the gap before this segment?"""
    if segment.previous >= segment.offset:
        return False
    match = matches.first(wall_clock(segment.start, segment.previous))
    return match is not None and match < wall_clock(segment.start, segment.offset)


def _next_segment(zone: str, segment: Segment, matches: _Matches) -> Segment | None:
    """The following segment, or a later segment if no segment between them can match.

    An offset is less than a day. All local times of a segment that ends a day before the next match therefore lie
    before that match, and the segment is passed over. A segment that repeats local times (a fold) is never passed over.
    """
    if matches.answer is None or segment.end >= LAST_INSTANT:
        return None
    following = segment_at(zone, segment.end)
    target = matches.answer.replace(tzinfo=UTC) - _DAY
    if target < following.end or not matches.cover(wall_clock(following.start, following.offset)):
        return following
    return segment_at(zone, target) if target < LAST_INSTANT else None


class _Matches:
    """The first match of an expression, remembered as long as it stays the first match."""

    __slots__ = ("_expression", "_low", "answer")

    def __init__(self, expression: CronExpression) -> None:
        self._expression = expression
        self._low: datetime | None = None
        self.answer: datetime | None = None

    def first(self, low: datetime) -> datetime | None:
        if not self.cover(low):
            self._low, self.answer = low, self._expression.first_match(low)
        return self.answer

    def cover(self, low: datetime) -> bool:
        """Is the remembered match also the first one at or after `low`?"""
        return self._low is not None and self._low <= low and (self.answer is None or low <= self.answer)
