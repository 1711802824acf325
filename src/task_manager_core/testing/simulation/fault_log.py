"""The faults that happened in a simulation. A fault that stops a worker is over when the worker is back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from task_manager_core.testing.simulation.results import InjectedFault

Absent = tuple[str, str]
"""Whose return ends a fault: ("machine", its name), or ("process", the name of a process)."""


@dataclass(slots=True, eq=False)
class _Entry:
    at: datetime
    workers: tuple[str, ...]
    what: str
    until: datetime | None
    absent: set[Absent]


class FaultLog:
    """A fault is over when all workers that it stopped are back. `now` gives the present instant."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._entries: list[_Entry] = []

    def add(
        self,
        workers: Collection[str],
        what: str,
        *,
        until: datetime | None = None,
        absent: Collection[Absent] = (),
    ) -> None:
        """A fault happens now. It ends at the instant `until`, or when all that are `absent` are back."""
        self._entries.append(_Entry(self._now(), tuple(workers), what, until, set(absent)))

    def back(self, absent: Absent) -> None:
        """A worker continues, has booted again, or has ended."""
        for entry in self._entries:
            if absent in entry.absent:
                entry.absent.remove(absent)
                if not entry.absent:
                    entry.until = self._now()

    def faults(self) -> tuple[InjectedFault, ...]:
        """All of them, in their order."""
        return tuple(
            InjectedFault(at=entry.at, until=entry.until, workers=entry.workers, what=entry.what)
            for entry in self._entries
        )
