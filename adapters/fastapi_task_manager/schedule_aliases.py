"""Two texts in the place of a cron expression that are none: `@every 90s` and `@reboot`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeGuard

from task_manager_core.domain.errors import InvalidCron
from task_manager_core.domain.recurrence import EPOCH, At
from task_manager_core.domain.schedule import Schedule

_EVERY = "@every"
_REBOOT = "@reboot"
_PARTS = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,3})?)s)?", re.ASCII)
_SECONDS = (86_400, 3_600, 60, 1)

_NEVER = (At(instants=(EPOCH,)),)


def without_aliases(given: Mapping[str, object]) -> Mapping[str, object]:
    """The same options, written with `interval`, or with `run_on_start` and no slot to come. Errors: InvalidCron."""
    field = "cron_expression"
    written = given.get(field)
    texts = [written] if isinstance(written, str) else written
    if not _is_list(texts):
        return given
    aliases = [one for one in texts if isinstance(one, str) and one.strip().lower().startswith((_EVERY, _REBOOT))]
    if not aliases:
        return given
    text = " ".join(aliases[0].split()).lower()
    word, _, length = text.partition(" ")
    others = [name for name in ("interval", "run_at") if given.get(name) is not None]
    if len(texts) > 1 or others:
        raise InvalidCron(field, written, f"{word} is a whole schedule and stands alone")
    if text == _REBOOT:
        return {**given, field: None, "run_at": EPOCH, "run_on_start": True}
    return {**given, field: None, "interval": _seconds(field, text, word, length)}


def shown_expression(schedule: Schedule) -> str:
    """The schedule as text for people."""
    return _REBOOT if is_reboot(schedule) else schedule.expression


def is_reboot(schedule: Schedule) -> bool:
    """Was this schedule written as `@reboot`?"""
    return schedule.rules == _NEVER


def _seconds(field: str, text: str, word: str, length: str) -> float:
    found = _PARTS.fullmatch(length)
    if word != _EVERY or found is None or not length:
        raise InvalidCron(field, text, "write @every and a length: @every 90s, @every 1h30m, @every 2d")
    return sum(float(part or 0) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True))


def _is_list(texts: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(texts, (list, tuple))
