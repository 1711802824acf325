"""Mistakes about names and time, made in SQL."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlite_backend
from task_manager_core.domain.identity import TaskKey
from task_manager_core.ports import Backend, Capabilities
from task_manager_core.testing import ManualClock
from task_manager_core.testing.conformance import RETENTION, Harness
from task_manager_memory.state import State
from tests.testing.broken.making import PATIENCE, BrokenStore, OpenHarness, memory


def sqlite(store: type[sqlite_backend.Store]) -> OpenHarness:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Harness]:
        clock, numbers, stores = ManualClock(), count(), []
        with TemporaryDirectory() as folder:

            async def another() -> Backend:
                one = store(Path(folder, f"{next(numbers)}.sqlite3"), clock, RETENTION)
                stores.append(one)
                return Backend(
                    name="broken",
                    capabilities=Capabilities(durable=True),
                    leadership=one,
                    catalogue=one,
                    schedule=one,
                    queue=one,
                    history=one,
                    attendance=one,
                    signals=one,
                )

            async def advance(delta: timedelta) -> None:
                clock.advance(delta)

            try:
                yield Harness(backend=await another(), advance=advance, wipe=another, patience=PATIENCE)
            finally:
                for one in stores:
                    one.close()

    return opened


def renamed(rename: Callable[[TaskKey], tuple[str, str]]) -> type[sqlite_backend.Store]:
    """Names are kept in another form, by which rows are looked for; the key that is shown is that of the definition."""

    class Renamed(sqlite_backend.Store):
        def _do(self, statement: str, *values: object) -> list[Any]:
            values = tuple(values)
            if "INSERT INTO tasks (grp, name)" in statement or "INSERT INTO asked" in statement:
                values = rename(TaskKey(*map(str, values)))
            elif "grp = ? AND name = ?" in statement:
                values = (*values[:-2], *rename(TaskKey(str(values[-2]), str(values[-1]))))
            return super()._do(statement, *values)

    return Renamed


def joined(separator: str) -> Callable[[TaskKey], tuple[str, str]]:
    def rename(key: TaskKey) -> tuple[str, str]:
        group, _, name = f"{key.group}{separator}{key.name}".rpartition(separator)
        return group or " ", name or " "

    return rename


class _Seconds(State):
    def now(self) -> datetime:
        return super().now().replace(microsecond=0)


class _Microseconds(State):
    def now(self) -> datetime:
        return self._clock.now()


def by_name(fold: Callable[[str], str]) -> Callable[[TaskKey], tuple[str, str]]:
    return lambda key: (fold(key.group), fold(key.name))


NAMES = "test_tasks_whose_names_look_alike_share_nothing"

BROKEN = (
    BrokenStore(
        mistake="names are joined with a colon",
        law="backend 1",
        killed_by=NAMES,
        open_harness=sqlite(renamed(joined(":"))),
    ),
    BrokenStore(
        mistake="names are compared without their case",
        law="backend 1",
        killed_by=NAMES,
        open_harness=sqlite(renamed(by_name(str.casefold))),
    ),
    BrokenStore(
        mistake="names are normalised",
        law="backend 1",
        killed_by=NAMES,
        open_harness=sqlite(renamed(by_name(lambda name: unicodedata.normalize("NFC", name)))),
    ),
    BrokenStore(
        mistake="blanks at the end of names are cut off",
        law="backend 1",
        killed_by=NAMES,
        open_harness=sqlite(renamed(by_name(lambda name: name.rstrip(" ") or "-"))),
    ),
    BrokenStore(
        mistake="names are cut at 191 characters",
        law="backend 1",
        killed_by=NAMES,
        open_harness=sqlite(renamed(by_name(lambda name: name[:191]))),
    ),
    BrokenStore(
        mistake="time is kept in seconds",
        law="leadership 4",
        killed_by="test_a_lease_is_kept_to_the_millisecond",
        open_harness=memory(state=_Seconds),
    ),
    BrokenStore(
        mistake="time has microseconds",
        law="backend 2",
        killed_by="test_the_time_of_a_store_is_in_whole_milliseconds",
        open_harness=memory(state=_Microseconds),
    ),
)
