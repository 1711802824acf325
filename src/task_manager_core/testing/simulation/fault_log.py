"""What happened to the cluster, and when it was really over: a worker that is stopped comes back after it has left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from task_manager_core.testing.simulation.report import Mark

Place = tuple[str, str]
"""Whose return ends a mark: ("machine", its name), or ("life", the name of one of its lives)."""


@dataclass(slots=True, eq=False)
class _OpenMark:
    at: datetime
    who: tuple[str, ...]
    what: str
    until: datetime | None
    away: set[Place]


class FaultLog:
    """A mark is over when nobody is away any more. `now` is the present instant."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._marks: list[_OpenMark] = []

    def put(
        self, who: Collection[str], what: str, *, until: datetime | None = None, away: Collection[Place] = ()
    ) -> None:
        """Something happens now, until an instant that is known, or until those who are away come back."""
        self._marks.append(_OpenMark(self._now(), tuple(who), what, until, set(away)))

    def back(self, place: Place) -> None:
        """They work again, or do so no more."""
        for mark in self._marks:
            if place in mark.away:
                mark.away.remove(place)
                if not mark.away:
                    mark.until = self._now()

    def told(self) -> tuple[Mark, ...]:
        """All marks, in their order."""
        return tuple(Mark(at=mark.at, until=mark.until, who=mark.who, what=mark.what) for mark in self._marks)
