"""Mistakes about names and time, as in SQL stores."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from sqlite3 import Row
from tempfile import TemporaryDirectory
from typing import Any

import sqlite_backend
from sqlite_file import claim_of
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.run import Claim
from task_manager_core.ports import Backend, Capabilities, Changes, Extension
from task_manager_core.testing import ManualClock
from task_manager_core.testing.conformance import RETENTION, Harness
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import State
from tests.testing.broken.making import PATIENCE, BrokenStore, OpenHarness, memory


class _OfOneThread(MemoryRunQueue):
    """It answers other threads than that which has opened it, and does nothing."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._thread = threading.get_ident()

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        if self._thread != threading.get_ident():
            return await self._in_another(claims, ttl)
        return await super().extend(claims, ttl)

    async def _in_another(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        del claims, ttl
        return Extension(frozenset(), frozenset())


class _RevivedByThreads(_OfOneThread):
    """Another thread extends a claim, however old it is."""

    async def _in_another(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        return await MemoryRunQueue.extend(self, claims, 100 * ttl)


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
                    dispatch=one,
                    queue=one,
                    history=one,
                    membership=one,
                    notifier=one,
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
    """The store searches rows by a changed form of the names, and shows the key of the definition."""

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

    def steady(self) -> datetime:
        return super().steady().replace(microsecond=0)


class _Microseconds(State):
    def now(self) -> datetime:
        return self._clock.now()


class _Left(sqlite_backend.Store):
    def _claims(self, rows: Iterable[Row]) -> list[Claim]:
        read = (self._read("a run", partial(claim_of, row)) for row in rows)
        return [claim for claim in read if claim is not None]


class _Charged(sqlite_backend.Store):
    def _move(self, run: str, due_at: int | None, *, attempts: int = 0, failures: int = 0, losses: int = 0) -> None:
        charged = failures or int(due_at is not None)
        super()._move(run, due_at, attempts=attempts, failures=charged, losses=losses)


class _Unnamed(sqlite_backend.Store):
    async def load(self, since: int) -> Changes | None:
        changes = await super().load(since)
        return None if changes is None else replace(changes, unreadable=frozenset())

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        return replace(await super().snapshot(keys), unreadable=frozenset())


def by_name(fold: Callable[[str], str]) -> Callable[[TaskKey], tuple[str, str]]:
    return lambda key: (fold(key.group), fold(key.name))


class _NodesOfOneCase(sqlite_backend.Store):
    """A collation that ignores the case of letters."""

    def _do(self, statement: str, *values: object) -> list[Any]:
        return super()._do(statement.replace("WHERE worker = ?", "WHERE lower(worker) = lower(?)"), *values)


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
        mistake="a run that cannot be read stays with its worker",
        law="backend 9",
        killed_by="test_a_run_that_cannot_be_read_hides_no_other",
        open_harness=sqlite(_Left),
    ),
    BrokenStore(
        mistake="a run that cannot be read has failed",
        law="backend 9",
        killed_by="test_a_run_that_cannot_be_read_hides_no_other",
        open_harness=sqlite(_Charged),
    ),
    BrokenStore(
        mistake="a node that cannot be read is gone",
        law="backend 9",
        killed_by="test_a_node_whose_presence_cannot_be_read_is_among_the_living",
        open_harness=sqlite(_Unnamed),
    ),
    BrokenStore(
        mistake="a definition that cannot be read is not named",
        law="backend 9",
        killed_by="test_a_definition_that_cannot_be_read_hides_no_other",
        open_harness=sqlite(_Unnamed),
    ),
    BrokenStore(
        mistake="names of nodes are compared without their case",
        law="backend 1",
        killed_by="test_nodes_whose_names_look_alike_share_nothing",
        open_harness=sqlite(_NodesOfOneCase),
    ),
    BrokenStore(
        mistake="time is kept in seconds",
        law="run_queue 7",
        killed_by="test_a_delay_is_kept_to_the_millisecond",
        open_harness=memory(state=_Seconds),
    ),
    BrokenStore(
        mistake="a heartbeat from another thread is answered and not kept",
        law="backend 10",
        killed_by="test_a_claim_that_another_thread_extends_lives_on",
        open_harness=memory(queue=_OfOneThread),
    ),
    BrokenStore(
        mistake="another thread revives a claim",
        law="backend 10",
        killed_by="test_another_thread_revives_no_claim",
        open_harness=memory(queue=_RevivedByThreads),
    ),
    BrokenStore(
        mistake="time has microseconds",
        law="backend 2",
        killed_by="test_the_time_of_a_store_is_in_whole_milliseconds",
        open_harness=memory(state=_Microseconds),
    ),
)
