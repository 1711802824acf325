"""The coming slots of a schedule, with notes about the rules for daylight saving.

These rules apply to fixed-time schedules. Other schedules follow real time: no slot is moved, dropped or doubled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from task_manager_core.domain.policy import require
from task_manager_core.domain.recurrence import Cron, Rule, calendar_instant, earliest
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.zone import load_zone

MOST_UPCOMING = 1000

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """A slot. `local` is the slot in the zone of the rule. `note` says what the gap or fold rule did to the slot."""

    slot: datetime
    local: datetime
    note: str | None = None


def upcoming(schedule: Schedule, start: datetime, count: int) -> tuple[Upcoming, ...]:
    """The first `count` slots after `start`, or fewer if the schedule ends."""
    require(count in range(1, MOST_UPCOMING + 1), "count", count, f"must be 1 to {MOST_UPCOMING}")
    return tuple(islice((found for found in search(schedule, start) if found is not None), count))


def search(schedule: Schedule, start: datetime) -> Iterator[Upcoming | None]:
    """The slots after `start`, in order, and None for each step of the search that has found none yet.

    A slot may need a step for each rule of the schedule, so a caller with a time limit counts steps. The caller may
    stop or pause after any step. The slots found so far have no slot missing between them.
    """
    after = schedule.opened(calendar_instant("start", start))
    streams: list[_Stream] = []
    for rule in schedule.rules:
        streams.append(_Stream(rule, after))
        yield None
    while (slot := earliest(stream.head for stream in streams)) is not None:
        if schedule.end_at is not None and slot >= schedule.end_at:
            return
        notes: list[str] = []
        meeting = [stream for stream in streams if stream.head == slot]
        for stream in meeting:
            notes.extend(stream.take())
            yield None
        local = _local(meeting[0].rule, slot)
        yield Upcoming(slot=slot, local=local, note="; ".join(dict.fromkeys(notes)) or None)


class _Stream:
    """The slots of one rule. It remembers the slot before, because the notes need it."""

    def __init__(self, rule: Rule, after: datetime) -> None:
        self.rule = rule
        self._before = after
        self.head = rule.next_after(after)

    def take(self) -> tuple[str, ...]:
        """Move to the next slot, and return the notes of the present one."""
        rule, slot = self.rule, self.head
        assert slot is not None
        notes = _notes(rule, self._before, slot) if isinstance(rule, Cron) and rule.expression.is_fixed_time else ()
        self._before, self.head = slot, rule.next_after(slot)
        return notes


def _local(rule: Rule, slot: datetime) -> datetime:
    return slot.astimezone(load_zone(rule.timezone)) if isinstance(rule, Cron) else slot


def _notes(rule: Cron, before: datetime, slot: datetime) -> tuple[str, ...]:
    return tuple(note for note in (_gap_note(rule, before, slot), _fold_note(rule, slot)) if note is not None)


def _gap_note(rule: Cron, before: datetime, slot: datetime) -> str | None:
    """A note if a local time between these two slots matches the expression but does not exist."""
    missing = _missing(rule, _local(rule, before), _local(rule, slot))
    if not missing:
        return None
    times, do = (_time(missing[0]), "does") if len(missing) == 1 else (f"{_time(missing[0])} and others", "do")
    if rule.shifts:
        return f"{times} {do} not exist on this day in {rule.timezone}: shifted to {_time(_local(rule, slot))}"
    return f"{times} on {missing[0].date()} {do} not exist and {'was' if do == 'does' else 'were'} skipped"


def _missing(rule: Cron, before: datetime, slot: datetime) -> list[datetime]:
    """The first two matches between two slots, if they do not exist in the zone."""
    found: list[datetime] = []
    match = rule.expression.first_match(before.replace(tzinfo=None, microsecond=0) + _SECOND)
    while match is not None and match < slot.replace(tzinfo=None) and len(found) < 2 and not _exists(rule, match):
        found.append(match)
        match = rule.expression.first_match(match + _SECOND)
    return found


def _exists(rule: Cron, wall: datetime) -> bool:
    zone = load_zone(rule.timezone)
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall


def _fold_note(rule: Cron, slot: datetime) -> str | None:
    local = _local(rule, slot)
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return None
    if rule.first_pass_only:
        return f"{_time(local)} happens twice on this day: the first pass"
    which = "second" if local.fold else "first"
    return f"{_time(local)} happens twice on this day: both passes run ({which})"


def _time(clock: datetime) -> str:
    return f"{clock:%H:%M:%S}" if clock.second else f"{clock:%H:%M}"
