"""A sentence for a schedule. A schedule that no short sentence describes exactly gets none.

The sentence is made of the values that an expression allows, and not of its text: names, steps, ranges and `H` are
numbers by then. It names local times of the zone, and does not tell what a daylight saving rule does with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from task_manager_core.domain.cron import CronExpression, CronValues
from task_manager_core.domain.recurrence import At, Cron, Every, Rule
from task_manager_core.domain.schedule import Schedule

MOST_TIMES = 6
"""A sentence names at most so many times of the day, days of the month or minutes of the hour."""

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", "l": "last"}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@lru_cache(maxsize=65536)
def in_words(schedule: Schedule) -> str | None:
    """The schedule as a sentence; None if a sentence would be long, or not exact."""
    if not schedule.rules:
        return "Only on request"
    rules = [_of_rule(rule) for rule in schedule.rules]
    known = [rule for rule in rules if rule is not None]
    if len(known) < len(rules) or len(rules) > 3:
        return None
    sentence = "; and ".join(known)
    if schedule.start_at is not None:
        sentence += f"; not before {_instant(schedule.start_at)}"
    if schedule.end_at is not None:
        sentence += f"; only before {_instant(schedule.end_at)}"
    if schedule.jitter:
        sentence += f"; each up to {_length(schedule.jitter)} later"
    return sentence[0].upper() + sentence[1:]


def _of_rule(rule: Rule) -> str | None:
    match rule:
        case Cron():
            words = cron_in_words(rule.expression)
            return None if words is None else f"{words} ({rule.timezone})"
        case Every():
            shift = f", shifted by {_length(rule.phase)}" if rule.phase else ""
            return f"every {_length(rule.interval, one='')}{shift}"
        case At():
            shown = [_instant(instant) for instant in rule.instants]
            return f"once at {shown[0]}" if len(shown) == 1 else f"at {len(shown)} instants, {shown[0]} to {shown[-1]}"


def cron_in_words(expression: CronExpression) -> str | None:
    """The local times of an expression, without their zone; None if a sentence would be long, or not exact."""
    values = expression.values
    if values is None:
        return None
    time, days = _times(values), _days(values)
    if time is None or days is None:
        return None
    months = "" if len(values.months) == 12 else _some("in", [_MONTHS[month - 1] for month in values.months])
    if not days and time.startswith("at "):
        days = "every day"
    return " ".join(part for part in (time, days, months) if part)


def _times(values: CronValues) -> str | None:
    """The times of a day."""
    seconds, minutes, hours = values.seconds, values.minutes, values.hours
    if len(seconds) > 1:
        step = _step(seconds, 60)
        whole = len(minutes) == 60 and len(hours) == 24
        return _every(step, "second") if step is not None and whole else None
    second = min(seconds)
    if len(minutes) * len(hours) <= MOST_TIMES:
        return f"at {_listed([_clock(hour, minute, second) for hour in hours for minute in minutes])}"
    return None if second else _repeated(minutes, hours)


def _repeated(minutes: Sequence[int], hours: Sequence[int]) -> str | None:
    """Many times of a day."""
    step = _step(minutes, 60)
    if step is not None:
        often = _every(step, "minute")
    elif len(minutes) <= MOST_TIMES:
        often = "every hour" if minutes == (0,) else f"every hour at minute {_listed([str(one) for one in minutes])}"
    else:
        return None
    first, last = hours[0], hours[-1]
    if len(hours) == 24:
        return often
    if list(hours) == list(range(first, last + 1)):
        return f"{often} from {_clock(first, minutes[0], 0)} to {_clock(last, minutes[-1], 0)}"
    apart = _step(hours, 24)
    return f"every {apart} hours from 00:00 on" if apart is not None and minutes == (0,) else None


def _days(values: CronValues) -> str | None:
    """The days; an empty text for every day."""
    weekdays = ""
    if values.nth is not None:
        weekday, which = values.nth
        weekdays = f"on the {_NTH[which]} {_DAYS[weekday]} of the month"
    elif values.weekdays is not None:
        weekdays = _some("on", _weekday_names(values.weekdays))
    if values.days is None:
        return weekdays
    if len(values.days) > MOST_TIMES:
        return None
    numbers = [day for day in values.days if isinstance(day, int)]
    parts = [f"day{'s' * (len(numbers) > 1)} {_listed([str(day) for day in numbers])}"] if numbers else []
    if "l" in values.days:
        parts.append("the last day")
    days = f"on {_listed(parts)} of the month"
    return f"{days} or {weekdays}" if weekdays else days


def _weekday_names(weekdays: Sequence[int]) -> list[str]:
    """The names, from Monday on."""
    return [_DAYS[day] for day in sorted(weekdays, key=lambda day: (day - 1) % 7)]


def _some(preposition: str, names: Sequence[str]) -> str:
    """Names of days or months: three or more neighbours are a range."""
    order = _MONTHS if names[0] in _MONTHS else (*_DAYS[1:], _DAYS[0])
    places = [order.index(name) for name in names]
    if len(places) > 2 and places == list(range(places[0], places[-1] + 1)):
        return f"from {names[0]} to {names[-1]}"
    return f"{preposition} {_listed(names)}"


def _step(values: Sequence[int], cycle: int) -> int | None:
    """The distance of values that go through the whole cycle from 0 on in equal steps; None for other values, and for a
    single value."""
    step = values[1] - values[0] if len(values) > 1 else 0
    return step if step and cycle % step == 0 and list(values) == list(range(0, cycle, step)) else None


def _every(step: int, unit: str) -> str:
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _clock(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _length(length: timedelta, one: str = "1 ") -> str:
    """A length in its largest whole unit."""
    seconds = length.total_seconds()
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{one}{unit}" if number == 1 else f"{number} {unit}s"
    return f"{seconds:g} seconds"


def _instant(instant: datetime) -> str:
    return instant.isoformat(sep=" ").removesuffix("+00:00") + " UTC"
