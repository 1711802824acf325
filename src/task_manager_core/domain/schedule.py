"""The schedule of a task: a union of rules within bounds, and the jitter between a slot and its dispatch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import InvalidCron, InvalidPolicy
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import require
from task_manager_core.domain.recurrence import (
    At,
    Cron,
    Every,
    Fold,
    Gap,
    Rule,
    calendar_instant,
    earliest,
    seconds,
    whole_milliseconds,
)

MOST_RULES = 20
LONGEST_JITTER = timedelta(days=1)

_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The slots are the instants of all rules in [start_at, end_at). An instant of two rules is one slot. A schedule
    without rules has no slots: its task runs on request only.

    The jitter does not change a slot; it changes the instant of its dispatch, `due_at`. A schedule whose data show that
    it cannot have a slot is refused.
    """

    rules: tuple[Rule, ...]
    start_at: datetime | None = None
    end_at: datetime | None = None
    jitter: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "rules", tuple(dict.fromkeys(self.rules)))
        put(self, "start_at", None if self.start_at is None else calendar_instant("start_at", self.start_at))
        put(self, "end_at", None if self.end_at is None else calendar_instant("end_at", self.end_at))
        jitter = whole_milliseconds("jitter", self.jitter)
        require(len(self.rules) <= MOST_RULES, "rules", len(self.rules), f"must be at most {MOST_RULES}")
        require(
            timedelta(0) <= jitter <= LONGEST_JITTER,
            "jitter",
            jitter.total_seconds(),
            f"must be 0s to {seconds(LONGEST_JITTER)}",
        )
        if self.start_at is not None and self.end_at is not None and self.end_at <= self.start_at:
            raise InvalidPolicy(
                "end_at", self.end_at.isoformat(), f"must be after start_at={self.start_at.isoformat()}"
            )
        self._refuse_if_empty()

    @classmethod
    def cron(
        cls,
        text: str | Sequence[str],
        *,
        timezone: str = "UTC",
        gap: Gap = Gap.SHIFT,
        fold: Fold = Fold.FIRST,
        hash_seed: str | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
        jitter: timedelta = timedelta(0),
    ) -> Schedule:
        """One expression or the union of several, all in one zone."""
        rules = tuple(
            Cron(expression=CronExpression.parse(one, hash_seed=hash_seed), timezone=timezone, gap=gap, fold=fold)
            for one in _texts(text)
        )
        return cls(rules=rules, start_at=start_at, end_at=end_at, jitter=jitter)

    @classmethod
    def every(
        cls,
        interval: timedelta,
        *,
        phase: timedelta = timedelta(0),
        start_at: datetime | None = None,
        end_at: datetime | None = None,
        jitter: timedelta = timedelta(0),
    ) -> Schedule:
        """A schedule with a constant interval in real time."""
        rule = Every(interval=interval, phase=phase)
        return cls(rules=(rule,), start_at=start_at, end_at=end_at, jitter=jitter)

    @classmethod
    def at(cls, *instants: datetime, jitter: timedelta = timedelta(0)) -> Schedule:
        """A schedule with one run at each of these instants."""
        return cls(rules=(At(instants=instants),), jitter=jitter)

    @property
    def expression(self) -> str:
        """The rules as a text for people. Do not parse it."""
        return " | ".join(rule.text for rule in self.rules) or "no schedule"

    @property
    def is_one_off(self) -> bool:
        """True if there are rules, and each of them names single instants."""
        return bool(self.rules) and all(isinstance(rule, At) for rule in self.rules)

    @property
    def last_instant(self) -> datetime:
        """The last instant of a schedule that is one-off."""
        return max(instant for rule in self.rules if isinstance(rule, At) for instant in rule.instants)

    def holds(self, instant: datetime) -> bool:
        """True if the instant lies within the bounds."""
        after_start = self.start_at is None or instant >= self.start_at
        return after_start and (self.end_at is None or instant < self.end_at)

    def opened(self, instant: datetime) -> datetime:
        """The instant after which to look for the first slot: this one, or just before the start."""
        if self.start_at is None or instant >= self.start_at:
            return instant
        return self.start_at - _MICROSECOND

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot after this instant, in UTC; None if the schedule has ended."""
        opened = self.opened(instant)
        slot = earliest(rule.next_after(opened) for rule in self.rules)
        return None if slot is None or (self.end_at is not None and slot >= self.end_at) else slot

    def due_at(self, task: TaskKey, slot: datetime) -> datetime:
        """When the slot may be dispatched: slot + [0, jitter), in whole milliseconds.

        A pure function of (task, slot).
        """
        choices = self.jitter // _MILLISECOND
        if choices == 0:
            return slot
        parts = (task.group, task.name, slot.astimezone(UTC).isoformat())
        text = "".join(f"{len(part)}:{part}" for part in parts)
        digest = hashlib.blake2b(text.encode(), digest_size=8, person=b"jitter").digest()
        return slot + int.from_bytes(digest, "big") % choices * _MILLISECOND

    def _refuse_if_empty(self) -> None:
        """Recurring rules without a start are not checked: their first slot depends on the present time."""
        if not self.rules:
            for field, value in (("start_at", self.start_at), ("end_at", self.end_at), ("jitter", self.jitter)):
                if value:
                    raise InvalidPolicy(field, str(value), "is about slots, and a task without a schedule has none")
            return
        if self.start_at is None and not all(isinstance(rule, At) for rule in self.rules):
            return
        if self.next_after(_ALWAYS) is None:
            field, bound = ("end_at", self.end_at) if self.end_at is not None else ("start_at", self.start_at)
            raise InvalidPolicy(field, None if bound is None else bound.isoformat(), "leaves no slot to run")


def _texts(text: str | Sequence[str]) -> list[str]:
    """The texts as a list. The parser checks each item; that is costly, so the number of items is checked first."""
    if isinstance(text, str):
        return [text]
    try:
        texts = list(text)
    except TypeError:
        raise InvalidCron("cron_expression", text, "must be text or a list of texts") from None
    if not texts:
        raise InvalidCron("cron_expression", text, "must hold an expression")
    if len(texts) > MOST_RULES:
        raise InvalidCron("cron_expression", len(texts), f"must be at most {MOST_RULES} expressions")
    return texts
