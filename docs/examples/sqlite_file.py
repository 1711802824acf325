"""The file of `sqlite_backend`: its tables, its transactions, and the steps that several verbs share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from task_manager_core.domain.errors import BackendCorrupt, BackendMisconfigured, BackendUnavailable
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.observation import LiveRun
from task_manager_core.domain.planning import DueTask, NextSlot, Skipped
from task_manager_core.domain.policy import Priority, Retention
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Claim, Run, RunState
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import CHANGES_REMEMBERED, Clock, codec
from task_manager_core.ports.codec import instant, milliseconds, span

T = TypeVar("T")

POLL = 0.02  # seconds between two looks of a worker that waits
LOCK_TIMEOUT = 2.0  # seconds that a verb waits for the transaction of another process
SKIPS_KEPT = 100
UNREADABLE_PAUSE = 5000  # milliseconds until a run that could not be read is queued again

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TEMP TABLE asked (grp TEXT, name TEXT);
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS lease (holder TEXT, token INTEGER, ends INTEGER);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER);
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY, grp TEXT, name TEXT, definition TEXT, version INTEGER, slot INTEGER, due_at INTEGER,
    decided INTEGER, paused INTEGER DEFAULT 0, resumed_at INTEGER, retired INTEGER DEFAULT 0, UNIQUE (grp, name));
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER UNIQUE, grp TEXT, name TEXT);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, task INTEGER REFERENCES tasks ON DELETE CASCADE, body TEXT, run_slot INTEGER, low INTEGER,
    queue TEXT, state TEXT,
    token INTEGER, attempt INTEGER DEFAULT 1, failures INTEGER DEFAULT 0, losses INTEGER DEFAULT 0, worker TEXT,
    beat INTEGER, due_at INTEGER, retrying INTEGER DEFAULT 0, delayed INTEGER DEFAULT 0, cancelling INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS reports (run TEXT PRIMARY KEY REFERENCES runs ON DELETE CASCADE, token INTEGER, body TEXT);
CREATE TABLE IF NOT EXISTS memories (
    task INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE, success TEXT, cursor TEXT);
CREATE TABLE IF NOT EXISTS requests (
    run TEXT PRIMARY KEY, task INTEGER REFERENCES tasks ON DELETE CASCADE, asked TEXT, until INTEGER);
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY, task INTEGER REFERENCES tasks ON DELETE CASCADE, kind TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS skipped (
    task INTEGER REFERENCES tasks ON DELETE CASCADE, reason TEXT, number INTEGER, PRIMARY KEY (task, reason));
CREATE TABLE IF NOT EXISTS nodes (node TEXT PRIMARY KEY, body TEXT, until INTEGER);
CREATE INDEX IF NOT EXISTS runs_by_task ON runs (task, state);
CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state, low, token);
CREATE INDEX IF NOT EXISTS lines_by_task ON lines (task, kind, id);
CREATE VIEW IF NOT EXISTS task_state AS SELECT tasks.*,
    (SELECT count(*) FROM runs WHERE task = tasks.id AND state <> 'held') AS live,
    (SELECT count(*) FROM runs WHERE task = tasks.id AND state = 'held') AS held,
    (SELECT count(*) FROM runs WHERE task = tasks.id AND retrying) AS retrying FROM tasks;
COMMIT;
CREATE TEMP VIEW existing AS SELECT * FROM tasks WHERE (grp, name) IN asked;
PRAGMA foreign_keys = ON;
"""


def ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


class File:
    """One open file. A transaction contains no `await`, so it is one step for the nodes of this process, too."""

    def __init__(self, path: Path, clock: Clock, retention: Retention) -> None:
        self._path, self._clock, self._retention = path, clock, retention
        self._connection: sqlite3.Connection | None = None
        self._now = self._ahead = 0
        self._aside: dict[str, BackendCorrupt | None] = {}
        """The errors of unreadable values, by their text; None for one that was reported."""

    def _connected(self) -> sqlite3.Connection:
        """Opened by the first verb, because opening a backend must not fail while its store is away."""
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT, isolation_level=None)
            connection.row_factory = sqlite3.Row
            try:
                connection.executescript(SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside take effect, or none. Errors: BackendUnavailable, BackendMisconfigured."""
        try:
            self._do("BEGIN IMMEDIATE")
            try:
                self._now = milliseconds(self._clock.now())
                self._ahead = self._set_back()
                self._promote()
                yield
                self._do("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._do("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise BackendUnavailable(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise BackendMisconfigured(f"{self._path}: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def unreadable(self) -> list[BackendCorrupt]:
        """The values that were set aside since the last call: for `Backend.unreadable`."""
        new = [error for error in self._aside.values() if error]
        self._aside = dict.fromkeys(self._aside)
        return new

    def _read(self, where: str, read: Callable[[], T]) -> T | None:
        """None for a value that this release cannot read. The value is set aside; the others are still read."""
        try:
            return read()
        except BackendCorrupt as error:
            aside = BackendCorrupt(where, error.reason)
            self._aside.setdefault(str(aside), aside)
            return None

    def _readable(self, where: str, texts: Iterable[str], decode: Callable[[str], T]) -> tuple[T, ...]:
        read = (self._read(where, partial(decode, text)) for text in texts)
        return tuple(one for one in read if one is not None)

    # -- steps that several verbs share -------------------------------------------------------------------------------

    def _do(self, statement: str, *values: object) -> list[sqlite3.Row]:
        return self._connected().execute(statement, values).fetchall()

    def _first(self, statement: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self._do(statement, *values)), None)

    def _number(self, name: str) -> int:
        row = self._first("SELECT value FROM numbers WHERE name = ?", name)
        return row["value"] if row else 0

    def _next(self, name: str) -> int:
        """A number that is greater than all before it, also than the numbers of a file that was lost."""
        greater = "INSERT INTO numbers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = max(value + 1, ?2)"
        self._do(greater, name, self._steady)
        return self._number(name)

    @property
    def _steady(self) -> int:
        """The time by which lengths are measured. It does not go back when the clock is set back."""
        return self._now + self._ahead

    def _set_back(self) -> int:
        """By how much the clock was set back until now."""
        latest, known = self._number("latest"), self._number("set_back")
        ahead = max(known, latest - self._now)
        if self._now + ahead > latest or ahead > known:
            for name, value in (("latest", self._now + ahead), ("set_back", ahead)):
                self._do("INSERT INTO numbers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2", name, value)
        return ahead

    def _changed(self, key: TaskKey) -> int:
        """Give the catalogue a new version, because this task has changed."""
        version = self._next("version")
        self._do("INSERT INTO changes (version, grp, name) VALUES (?, ?, ?)", version, key.group, key.name)
        self._do("DELETE FROM changes WHERE id <= (SELECT max(id) FROM changes) - ?", CHANGES_REMEMBERED)
        self._do("INSERT OR IGNORE INTO numbers VALUES ('incarnation', ?)", version)
        self._next("signal")
        return version

    def _term(self) -> Term | None:
        row = self._first("SELECT * FROM lease WHERE ends > ?", self._steady)
        return Term(NodeId(row["holder"]), row["token"]) if row else None

    def _task(self, key: TaskKey) -> sqlite3.Row | None:
        return self._first("SELECT * FROM task_state WHERE grp = ? AND name = ?", key.group, key.name)

    def _asked(
        self, keys: Collection[TaskKey], statement: str = "SELECT * FROM existing", *values: object
    ) -> frozenset[TaskKey]:
        """Run a statement about the tasks in the table `asked`. The answer names the tasks of the returned rows."""
        self._do("DELETE FROM asked")
        for key in keys:
            self._do("INSERT INTO asked VALUES (?, ?)", key.group, key.name)
        return frozenset(key_of(row) for row in self._do(statement, *values))

    def _set_next_slot(self, task: int, next_slot: NextSlot | None) -> None:
        slot, due_at = (milliseconds(next_slot.slot), milliseconds(next_slot.due_at)) if next_slot else (None, None)
        self._do("UPDATE tasks SET slot = ?, due_at = ? WHERE id = ?", slot, due_at, task)

    def _write(self, task: int, kind: str, body: str, kept: int) -> None:
        self._do("INSERT INTO lines (task, kind, body) VALUES (?, ?, ?)", task, kind, body)
        older = "SELECT id FROM lines WHERE task = ? AND kind = ? ORDER BY id DESC LIMIT -1 OFFSET ?"
        for row in self._do(older, task, kind, kept):
            self._do("DELETE FROM lines WHERE id = ?", row["id"])

    def _lines(self, key: TaskKey, kind: str, limit: int) -> list[str]:
        task = self._task(key)
        newest = "SELECT body FROM lines WHERE task = ? AND kind = ? ORDER BY id DESC LIMIT ?"
        return [row["body"] for row in self._do(newest, task["id"], kind, limit)] if task else []

    def _record(self, task: int, record: AttemptRecord) -> None:
        self._write(task, "attempt", codec.encode_record(record), self._retention.runs)

    def _skip(self, task: int, skipped: Iterable[Skipped]) -> None:
        for one in skipped:
            self._write(task, "skip", codec.encode_skipped(one), SKIPS_KEPT)
            more = "INSERT INTO skipped VALUES (?, ?, ?3) ON CONFLICT DO UPDATE SET number = number + ?3"
            self._do(more, task, one.reason.value, one.count)

    def _admit(self, task: int, run: Run, state: str, due_at: int | None = None) -> None:
        new = (
            "INSERT OR IGNORE INTO runs (id, task, body, run_slot, low, queue, state, token, due_at, delayed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        low, slot = run.priority is Priority.LOW, None if run.slot is None else milliseconds(run.slot)
        body, waits = codec.encode_run(run), due_at is not None
        self._do(new, run.id.value, task, body, slot, low, run.queue, state, self._next("token"), due_at, waits)

    def _move(self, run: str, due_at: int | None, *, attempts: int = 0, failures: int = 0, losses: int = 0) -> None:
        """Put a run at the end of the queue, or let it wait. Its place in the queue is a new token, so an old claim on
        the run is over."""
        change = (
            "UPDATE runs SET state = ?, due_at = ?, delayed = 0, retrying = ?, token = ?, attempt = attempt + ?,"
            " failures = failures + ?, losses = losses + ?, worker = NULL, beat = NULL WHERE id = ?"
        )
        waits = due_at is not None
        state, retrying, token = "waiting" if waits else "queued", waits and failures > 0, self._next("token")
        self._do(change, state, due_at, retrying, token, attempts, failures, losses, run)

    def _promote(self) -> None:
        """Queue the runs whose wait is over, before any verb reads."""
        due = "SELECT id FROM runs WHERE state = 'waiting' AND due_at <= ? ORDER BY due_at, token"
        for row in self._do(due, self._steady):
            self._move(row["id"], None)

    def _end(self, row: sqlite3.Row) -> None:
        """End a run. The first held run of its task is queued if its limit allows one more live run."""
        self._do("DELETE FROM runs WHERE id = ?", row["id"])
        held = self._first("SELECT * FROM runs WHERE task = ? AND state = 'held' ORDER BY token LIMIT 1", row["task"])
        [live] = self._do("SELECT count(*) AS runs FROM runs WHERE task = ? AND state <> 'held'", row["task"])
        if held:
            run = self._read(f"run {held['id']}", partial(codec.decode_run, held["body"]))
            if live["runs"] < ((run and run.live_limit) or 1):
                self._move(held["id"], None)

    def _of(self, claim: Claim) -> sqlite3.Row | None:
        """The run of this claim, None if the claim is over."""
        mine = "SELECT * FROM runs WHERE id = ? AND state = 'running' AND token = ? AND worker = ?"
        return self._first(mine, claim.run.id.value, claim.token, claim.worker.value)


async def until(timeout: timedelta, look: Callable[[], T]) -> T:
    """Look until the answer is not empty, at most for the timeout, which is measured by the clock of the event loop."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout.total_seconds()
    # ASYNC110 asks for an event, but another process cannot set one.
    while not (found := look()) and (left := deadline - loop.time()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(POLL, left))
    return found


def admits(task: sqlite3.Row, run: Run, count: int = 1) -> bool:
    """May so many runs like this one be queued beside the live runs of their task?"""
    limit = run.live_limit
    return limit is None or (not task["held"] and task["live"] + count <= limit)


def key_of(row: sqlite3.Row) -> TaskKey:
    return TaskKey(row["grp"], row["name"])


def stored_of(row: sqlite3.Row) -> VersionedDefinition | None:
    """None for a definition that this release cannot read. The others are still read."""
    try:
        return VersionedDefinition(definition=codec.decode_task(row["definition"]), version=row["version"])
    except BackendCorrupt:
        return None


def due_of(row: sqlite3.Row) -> DueTask:
    return DueTask(
        key=key_of(row),
        version=row["version"],
        slot=instant(row["slot"]),
        due_at=instant(row["due_at"]),
        paused=bool(row["paused"]),
        resumed_at=None if row["resumed_at"] is None else instant(row["resumed_at"]),
        live=row["live"],
        held=row["held"],
        retrying=row["retrying"],
    )


def claim_of(row: sqlite3.Row) -> Claim:
    run, worker = codec.decode_run(row["body"]), NodeId(row["worker"] or "")
    return Claim(
        run=run,
        attempt=row["attempt"],
        failures=row["failures"],
        losses=row["losses"],
        token=row["token"],
        worker=worker,
    )


def slot_of(row: sqlite3.Row) -> datetime | None:
    return None if row["run_slot"] is None else instant(row["run_slot"])


def live_of(row: sqlite3.Row, ahead: int) -> LiveRun:
    return LiveRun(
        run=RunId(row["id"]),
        slot=slot_of(row),
        state=RunState(row["state"]),
        attempt=row["attempt"],
        failures=row["failures"],
        losses=row["losses"],
        worker=None if row["worker"] is None else NodeId(row["worker"]),
        due_at=None if row["due_at"] is None else instant(row["due_at"] - ahead),
        retrying=bool(row["retrying"]),
        cancelling=bool(row["cancelling"]),
    )


def line_of(row: sqlite3.Row, status: AttemptStatus, *, started_at: int, now: int) -> AttemptRecord:
    """A line of history that the store writes itself, because no worker can. It needs nothing from the body of the run,
    which may be unreadable."""
    return AttemptRecord(
        run=RunId(row["id"]),
        slot=slot_of(row),
        attempt=row["attempt"],
        status=status,
        started_at=instant(started_at),
        duration=span(now - started_at),
        worker=NodeId(row["worker"] or ""),
        token=row["token"] if row["worker"] else 0,
    )
