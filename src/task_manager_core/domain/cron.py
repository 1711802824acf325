"""Cron expressions: what a text means, and which wall-clock times it matches. The only module that imports croniter.

croniter only computes matches in naive wall-clock time. `recurrence` handles time zones, because croniter runs a fixed
time twice in a fold and loses slots in a half-hour fold (pallets-eco/croniter#56). This module refuses a text that
croniter reads wrongly, or reads differently in each process.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from croniter import CroniterBadDateError, croniter

from task_manager_core.domain.errors import InvalidCron

LONGEST_EXPRESSION = 256

_FIELD = "cron_expression"
_SECOND = timedelta(seconds=1)
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)
"""The start of the search that validates an expression. Every expression that ever matches does so within 50 years of
it, the limit of croniter's search (`max_years_between_matches`)."""

_CRONITER_RAISES = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, AssertionError)
"""CroniterError is a ValueError. croniter raises the others for some invalid input."""

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Expanded here, because croniter with a seed reads them as hashed (its README, "Keyword expressions")."""

_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_NAMES = {**_DAYS, **_MONTHS, "l": 31}

_RANGE = re.compile(r"(\w+)-(\w+)(?:/(\d+))?(?:#\d+)?", re.ASCII)
_RANDOM = re.compile(r"r(\(.*\))?(/.*)?", re.ASCII)
_NTH_WEEKDAY = re.compile(r".*#.*|l\d+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronValues:
    """The values that the fields of an expression allow, in order.

    A time matches if its second, minute, hour and month are among them, and its day or its weekday is. `days` and
    `weekdays` are None if they restrict nothing; if both restrict, one of them has to match. "l" among the days is the
    last day of a month. `nth` is a weekday (Sunday is 0) with its number in the month, or "l" for the last; `weekdays`
    is None then.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int | str, ...] | None
    months: tuple[int, ...]
    weekdays: tuple[int, ...] | None
    nth: tuple[int, int | str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronExpression:
    """A valid expression: 5 fields, 6 with seconds first, or an alias. Equal texts with equal seeds are equal.

    `text` is the text of the user, with single spaces. `hash_seed` decides the value of `H`. It is the text of the task
    key, so that tasks get different values and all processes get the same. Without an `H` the seed is dropped.
    """

    text: str
    hash_seed: str | None = None
    field_name: InitVar[str] = _FIELD
    is_fixed_time: bool = field(init=False, repr=False, compare=False)
    """True if neither the minute nor the hour begins with `*`: the distinction of Debian's cron."""
    _source: str = field(init=False, repr=False, compare=False)
    _idle: list[croniter[datetime]] = field(init=False, repr=False, compare=False)

    def __post_init__(self, field_name: str) -> None:
        text = _normalised(field_name, self.text)
        parts = _parts(field_name, text)
        hashed = _is_hashed(text)
        _check_seed(field_name, text, self.hash_seed, hashed=hashed)
        _refuse_what_croniter_gets_wrong(field_name, text, parts)
        put = object.__setattr__
        put(self, "text", text)
        put(self, "hash_seed", self.hash_seed if hashed else None)
        put(self, "is_fixed_time", not parts[-5].startswith("*") and not parts[-4].startswith("*"))
        put(self, "_source", " ".join(parts))
        put(self, "_idle", [self._validated(field_name, parts)])

    @classmethod
    def parse(cls, text: str, *, hash_seed: str | None = None, field: str = _FIELD) -> CronExpression:
        """The expression of this text.

        Equal texts give the same object. Errors: InvalidCron with the name in `field`.
        """
        normalised = _normalised(field, text)
        hashed = _is_hashed(normalised)
        _check_seed(field, normalised, hash_seed, hashed=hashed)
        return _shared(normalised, hash_seed if hashed else None, field)

    def first_match(self, at_or_after: datetime) -> datetime | None:
        """The first matching wall-clock time (naive) at or after this one; None after 50 years or year 9999.

        A croniter has a state while it computes. Each thread therefore takes one out of the pool `_idle` and returns it
        afterwards; `pop` and `append` of a list are atomic.
        """
        start = at_or_after.replace(microsecond=0)
        if start == at_or_after and start > start.min:
            start -= _SECOND
        try:
            calculator = self._idle.pop()
        except IndexError:
            calculator = self._calculator()
        try:
            return calculator.get_next(datetime, start_time=start)
        except (ValueError, OverflowError):
            return None
        finally:
            self._idle.append(calculator)

    @property
    def values(self) -> CronValues | None:
        """The values that the fields allow; None for an expression with `W`, or with `#` in a list."""
        calculator = self._calculator()
        minute, hour, day, month, weekday, *second = calculator.expanded
        nth = list(calculator.nth_weekday_of_month.items())
        if (
            calculator.nearest_weekday
            or len(nth) > 1
            or (nth and (len(nth[0][1]) > 1 or [str(one) for one in weekday] != [str(nth[0][0])]))
        ):
            return None
        weekdays = None if nth else _restricted(weekday, 0, 6)
        return CronValues(
            seconds=_numbers(second[0], 0, 59) if second else (0,),
            minutes=_numbers(minute, 0, 59),
            hours=_numbers(hour, 0, 23),
            days=None if day == ["*"] else tuple(sorted(day, key=str)) if "l" in day else _restricted(day, 1, 31),
            months=_numbers(month, 1, 12),
            weekdays=weekdays,
            nth=(int(nth[0][0]), next(iter(nth[0][1]))) if nth else None,
        )

    def _calculator(self) -> croniter[datetime]:
        """A new croniter.

        It gets a start, because it would read the clock otherwise, and a seed only if there is an `H`.
        """
        return croniter(
            self._source, _ORIGIN, ret_type=datetime, hash_id=self.hash_seed, second_at_beginning=True, day_or=True
        )

    def _validated(self, field_name: str, parts: list[str]) -> croniter[datetime]:
        """A croniter that found a match. `croniter.is_valid` accepts expressions that never match.

        See pallets-eco/croniter#141. The `strict` check that closed it compares days with months only.
        """
        try:
            calculator = self._calculator()
            if not _is_star(parts[-3]) and not _is_star(parts[-1]) and ["*"] in calculator.expanded[2:5:2]:
                # A day matches if one of the two day fields matches, and here one field matches every day. croniter
                # requires both fields then: "0 0 1-31 * */2" would run every second weekday.
                object.__setattr__(self, "_source", " ".join([*parts[:-3], "*", parts[-2], "*"]))
                calculator = self._calculator()
            calculator.get_next(datetime, start_time=_ORIGIN)
        except CroniterBadDateError:
            raise InvalidCron(field_name, self.text, "never fires") from None
        except _CRONITER_RAISES as error:
            raise InvalidCron(field_name, self.text, f"is not a cron expression: {error}") from None
        return calculator


def _numbers(field: Sequence[int | str], first: int, last: int) -> tuple[int, ...]:
    """The values of a field that has numbers or is `*`."""
    if list(field) == ["*"]:
        return tuple(range(first, last + 1))
    return tuple(sorted(int(value) for value in field))


def _restricted(field: Sequence[int | str], first: int, last: int) -> tuple[int, ...] | None:
    """The same; None if it allows every value."""
    numbers = _numbers(field, first, last)
    return None if len(numbers) == last + 1 - first else numbers


@lru_cache(maxsize=4096)
def _shared(text: str, hash_seed: str | None, field_name: str) -> CronExpression:
    return CronExpression(text=text, hash_seed=hash_seed, field_name=field_name)


def _normalised(field_name: str, text: object) -> str:
    """The text with single spaces. The length is checked first: croniter needs seconds for a long text."""
    if not isinstance(text, str):
        raise InvalidCron(field_name, text, "must be text")
    if len(text) > LONGEST_EXPRESSION:
        raise InvalidCron(field_name, text, f"must not exceed {LONGEST_EXPRESSION} characters")
    if not text.isascii() or not text.replace("\t", " ").isprintable():
        raise InvalidCron(field_name, text, "must be one line of ASCII characters")
    words = text.split()
    if not words:
        raise InvalidCron(field_name, text, "must not be empty")
    return " ".join(words)


def _parts(field_name: str, text: str) -> list[str]:
    """The 5 or 6 fields in lower case."""
    lowered = text.lower()
    if lowered.startswith("@") and lowered not in _ALIASES:
        raise InvalidCron(field_name, text, f"is not one of {' '.join(_ALIASES)}")
    parts = _ALIASES.get(lowered, lowered).split()
    if len(parts) not in (5, 6):
        raise InvalidCron(field_name, text, "must have 5 fields, or 6 with the seconds first")
    return parts


def _is_hashed(text: str) -> bool:
    """Does a field use `H`? No name of a month or a day begins with an h."""
    return any(part.startswith("h") for part in text.lower().split())


def _check_seed(field_name: str, text: str, seed: object, *, hashed: bool) -> None:
    if seed is not None and not isinstance(seed, str):
        raise InvalidCron(field_name, text, "the seed for H must be text")
    if hashed and seed is None:
        raise InvalidCron(field_name, text, "H needs a seed, such as the text of the task key")


def _is_star(day_field: str) -> bool:
    """Does this day field allow every day, so that the other day field decides?"""
    return any(item in ("*", "?") for item in day_field.split(","))


def _refuse_what_croniter_gets_wrong(field_name: str, text: str, parts: list[str]) -> None:
    """Refuse texts that croniter 7.0 accepts and then reads wrongly: it raises later, drops days or adds days.

    A range of equal ends means the whole cycle (pallets-eco/croniter#257), and a step in a range that wraps round is
    miscounted (pallets-eco/croniter#268). tests/domain/test_cron.py has an example of every case.
    """
    if any(_RANDOM.fullmatch(item) for part in parts for item in part.split(",")):
        raise InvalidCron(field_name, text, "R differs in every process; use H")
    for position, part in enumerate(reversed(parts)):
        for item in part.split(","):
            reason = _range_trouble(item, weekday=position == 0)
            if reason:
                raise InvalidCron(field_name, text, f"{item}: {reason}")
    month_day, weekday = parts[-3], parts[-1]
    nth = any(_NTH_WEEKDAY.fullmatch(item) for item in weekday.split(","))
    if (nth and not _is_star(month_day)) or ("w" in month_day and not _is_star(weekday)):
        raise InvalidCron(field_name, text, "#, L with a weekday, and W need the other day field to be *")


def _range_trouble(item: str, *, weekday: bool) -> str | None:
    """Why croniter would read this range as something else; None if it reads it correctly."""
    match = _RANGE.fullmatch(item)
    if match is None:
        return None
    low, high = (_NAMES[bound] if bound in _NAMES else _number(bound) for bound in match.group(1, 2))
    if low is None or high is None:
        return None
    if weekday and (low, high) != (0, 7) and (low % 7, high % 7) == (0, 0):
        return "a range of equal ends means every day to croniter"
    if low == high:
        return "a range of equal ends means the whole cycle to croniter"
    if weekday:
        low, high = low % 7, high % 7 or 7
    if low > high and int(match.group(3) or 1) > 1:
        return "a step in a range that wraps round is miscounted by croniter; list the values"
    return None


def _number(bound: str) -> int | None:
    return int(bound) if bound.isdigit() else None
