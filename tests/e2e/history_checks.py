"""Checks that every history of slots must pass, also if processes were killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.e2e.cluster import Cluster, utc
from tests.e2e.effects import Effect
from tests.e2e.process import DEADLINE
from tests.waiting import NotReached, wait_until

T = TypeVar("T", bound=Hashable)

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Consecutive slots of a task that runs every `step`, both ends included."""

    first: datetime
    last: datetime
    step: timedelta = SECOND

    @property
    def slots(self) -> list[datetime]:
        return self.between(self.first, self.last)

    def between(self, first: datetime, last: datetime) -> list[datetime]:
        """The slots from one slot to another, also outside of the window."""
        return [first + number * self.step for number in range(round((last - first) / self.step) + 1)]

    def __contains__(self, slot: datetime | None) -> bool:
        return slot is not None and self.first <= slot <= self.last


def next_second(after: float) -> datetime:
    """The first whole second after an instant of the wall clock."""
    return datetime.fromtimestamp(int(after) + 1, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The history of one task: the records of the store, and the effects of its function."""

    runs: tuple[dict[str, Any], ...]
    skipped: tuple[dict[str, Any], ...]
    effects: tuple[Effect, ...]

    @classmethod
    def of(cls, cluster: Cluster, task: str) -> History:
        statistics = cluster.statistics(task)
        return cls(
            runs=tuple(statistics["runs"]),
            skipped=tuple(statistics["skipped"]),
            effects=tuple(cluster.effects.read(task)),
        )

    @classmethod
    def once_settled(cls, cluster: Cluster, task: str, window: Window) -> History:
        """The history as soon as every slot of the window succeeded or was skipped; after the deadline the history as
        it is."""

        def accounted() -> bool:
            history = cls.of(cluster, task)
            return set(window.slots) <= set(history.succeeded(window)) | set(history.skipped_slots(window))

        try:
            wait_until(accounted, f"every slot of {task} is accounted for", DEADLINE)
        except NotReached:
            return cls.of(cluster, task)
        return cls.of(cluster, task)

    def succeeded(self, window: Window) -> list[datetime]:
        """The slots of the runs that succeeded, once for each success."""
        slots = [utc(run["slot"]) for run in self.runs if run["slot"] is not None and run["status"] == "succeeded"]
        return sorted(slot for slot in slots if slot in window)

    def skipped_slots(self, window: Window) -> list[datetime]:
        ranges = [window.between(utc(skip["first"]), utc(skip["last"])) for skip in self.skipped]
        return sorted(slot for slots in ranges for slot in slots if slot in window)

    def started(self, window: Window) -> list[Effect]:
        return [one for one in self.effects if one.event == "started" and one.slot in window]


def assert_dispatched_at_most_once(effects: Iterable[Effect]) -> None:
    """Each slot has one run, each attempt starts once, and each attempt has its own fencing token."""
    started = [one for one in effects if one.event == "started"]
    assert repeated((one.run_id, one.attempt) for one in started) == {}
    assert repeated(one.token for one in started) == {}
    runs = {(one.task, one.slot, one.run_id) for one in started if one.slot is not None}
    assert repeated((task, slot) for task, slot, _ in runs) == {}


def assert_accounted_for(history: History, window: Window) -> None:
    """Each slot either succeeded once or is recorded as skipped, and never both."""
    succeeded, skipped = history.succeeded(window), history.skipped_slots(window)
    assert repeated(succeeded) == {}
    assert repeated(skipped) == {}
    assert set(succeeded) & set(skipped) == set()
    assert sorted(succeeded + skipped) == window.slots


def assert_effects_agree(history: History, window: Window) -> None:
    """The runs that the store records as succeeded are the runs that the function finished."""
    claimed = {
        (utc(run["slot"]), run["run_id"]) for run in history.runs if run["slot"] and run["status"] == "succeeded"
    }
    done = {(one.slot, one.run_id) for one in history.effects if one.event == "finished"}
    assert {pair for pair in claimed if pair[0] in window} == {pair for pair in done if pair[0] in window}


def repeated(items: Iterable[T]) -> dict[T, int]:
    """The items that occur more than once, with their numbers."""
    return {item: count for item, count in Counter(items).items() if count > 1}
