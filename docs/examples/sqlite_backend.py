"""A store in one SQLite file, for the processes of one machine: a complete backend in one module.

Every verb is one `BEGIN IMMEDIATE` transaction, so a verb that fails has changed nothing. The time is that of the
clock it was opened with; the processes of one machine share that. Who waits looks at the file fifty times a second.
The statements run in the event loop: fine for hundreds of tasks, and the first thing to change for more.

    TaskManager(app, OperationalConfig(), backend=SqliteStore("tasks.sqlite3").open)
    pytest --pyargs task_manager_core.testing.conformance --backend=sqlite_backend:open_backend
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from task_manager_core.domain import codec
from task_manager_core.domain.codec import instant, milliseconds, span
from task_manager_core.domain.errors import BackendMisconfigured, BackendUnavailable
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Held, Term
from task_manager_core.domain.observation import LiveRun, Presence, Snapshot, TaskView
from task_manager_core.domain.planning import Advance, Agenda, DueTask, Plan, Skipped, SkipReason
from task_manager_core.domain.policy import Priority, Retention
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Claim, Retried, Run, RunState, Settlement
from task_manager_core.domain.task import StoredTask
from task_manager_core.ports import (
    REQUEST_MEMORY,
    Backend,
    Cancelling,
    Capabilities,
    Changes,
    Clock,
    Conflict,
    Definition,
    Enqueued,
    Extension,
)

if TYPE_CHECKING:
    from task_manager_core.testing.conformance import Harness

LOOK = 0.02
"""Seconds between two looks at the file of somebody who waits."""

SIGNAL = "SELECT value FROM facts WHERE name = 'signal'"

PATIENCE = 2.0
"""Seconds that a verb waits for another process's transaction before it says BackendUnavailable."""

SKIPS_KEPT = 100

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY, grp TEXT, name TEXT, definition TEXT, version INTEGER, slot INTEGER, due_at INTEGER,
    paused INTEGER DEFAULT 0, resumed_at INTEGER, retired INTEGER DEFAULT 0, UNIQUE (grp, name));
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, task INTEGER REFERENCES tasks ON DELETE CASCADE, body TEXT, low INTEGER, state TEXT,
    token INTEGER, attempt INTEGER DEFAULT 1, failures INTEGER DEFAULT 0, worker TEXT, beat INTEGER, due_at INTEGER,
    retrying INTEGER DEFAULT 0, cancelling INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS requests (run TEXT PRIMARY KEY, at INTEGER);
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY, task INTEGER REFERENCES tasks ON DELETE CASCADE, kind TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS skipped (
    task INTEGER REFERENCES tasks ON DELETE CASCADE, reason TEXT, number INTEGER, PRIMARY KEY (task, reason));
CREATE TABLE IF NOT EXISTS nodes (node TEXT PRIMARY KEY, body TEXT, until INTEGER);
CREATE INDEX IF NOT EXISTS runs_by_task ON runs (task, state);
CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state, low, token);
CREATE INDEX IF NOT EXISTS lines_by_task ON lines (task, kind, id);
COMMIT;
"""


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


class Step:
    """One transaction: short statements, and what several verbs do."""

    def __init__(self, connection: sqlite3.Connection, now: int, retention: Retention) -> None:
        self._connection, self.now, self._retention = connection, now, retention

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self.rows(statement, *values)), None)

    def fact(self, name: str) -> object:
        row = self.row("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else row["value"]

    def number(self, name: str) -> int:
        value = self.fact(name)
        return value if isinstance(value, int) else 0

    def put(self, **facts: object) -> None:
        for name, value in facts.items():
            self.rows("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def next(self, name: str) -> int:
        """Strictly greater than before, and than anything a file that was lost may have given out."""
        number = max(self.number(name) + 1, self.now)
        self.put(**{name: number})
        return number

    def ring(self) -> None:
        self.put(signal=self.number("signal") + 1)

    def changed(self) -> int:
        """The catalogue is another one."""
        version = self.next("version")
        self.put(incarnation=self.number("incarnation") or version)
        self.ring()
        return version

    def term(self) -> Term | None:
        alive = self.now < self.number("lease_ends")
        return Term(NodeId(str(self.fact("holder"))), self.number("term")) if alive else None

    def tasks(self, keys: Iterable[TaskKey]) -> dict[TaskKey, sqlite3.Row]:
        """Those that exist."""
        wanted = "SELECT * FROM tasks WHERE grp = ? AND name = ?"
        found = {key: self.row(wanted, key.group, key.name) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    def plan(self, task: int, plan: Plan | None) -> None:
        slot, due_at = (None, None) if plan is None else (milliseconds(plan.slot), milliseconds(plan.due_at))
        self.rows("UPDATE tasks SET slot = ?, due_at = ? WHERE id = ?", slot, due_at, task)

    # -- what has happened --------------------------------------------------------------------------------------------

    def write(self, task: int, kind: str, body: str, kept: int) -> None:
        self.rows("INSERT INTO lines (task, kind, body) VALUES (?, ?, ?)", task, kind, body)
        newest = "SELECT id FROM lines WHERE task = ?1 AND kind = ?2 ORDER BY id DESC LIMIT -1 OFFSET ?3"
        self.rows(f"DELETE FROM lines WHERE id IN ({newest})", task, kind, kept)  # noqa: S608 - only constants

    def record(self, task: int, record: AttemptRecord) -> None:
        self.write(task, "attempt", codec.encode_record(record), self._retention.runs)

    def skip(self, task: int, skipped: Iterable[Skipped]) -> None:
        for one in skipped:
            self.write(task, "skip", codec.encode_skipped(one), SKIPS_KEPT)
            more = "INSERT INTO skipped VALUES (?, ?, ?3) ON CONFLICT DO UPDATE SET number = number + ?3"
            self.rows(more, task, one.reason.value, one.count)

    # -- where runs stand ---------------------------------------------------------------------------------------------

    def counts(self, task: int) -> sqlite3.Row:
        [counts] = self.rows(
            "SELECT count(*) AS lives, count(*) FILTER (WHERE state <> 'held') AS live, total(retrying) AS retrying,"
            " count(*) FILTER (WHERE state = 'held') AS held FROM runs WHERE task = ?",
            task,
        )
        return counts

    def admit(self, task: int, run: Run, state: RunState) -> None:
        low = run.priority is Priority.LOW
        new = "INSERT INTO runs (id, task, body, low, state, token) VALUES (?, ?, ?, ?, ?, ?)"
        self.rows(new, run.id.value, task, codec.encode_run(run), low, state.value, self.next("token"))

    def move(self, run: str, due_at: int | None, *, attempts: int = 0, failures: int = 0) -> None:
        """To the end of the queue, or to those that wait. The new place in line is the token of the attempt, too."""
        self.rows(
            "UPDATE runs SET state = ?, due_at = ?, token = ?, attempt = attempt + ?, failures = failures + ?,"
            " retrying = ?, worker = NULL, beat = NULL WHERE id = ?",
            *("queued" if due_at is None else "waiting", due_at, self.next("token"), attempts, failures),
            *(due_at is not None and failures > 0, run),
        )

    def promote(self) -> None:
        """What has waited long enough is queued before anything else is looked at."""
        for row in self.rows(
            "SELECT id FROM runs WHERE state = 'waiting' AND due_at <= ? ORDER BY due_at, token", self.now
        ):
            self.move(row["id"], None)

    def end(self, row: sqlite3.Row) -> None:
        """A run has ended: the next held run of its task goes, if nothing else of it lives."""
        self.rows("DELETE FROM runs WHERE id = ?", row["id"])
        if not self.counts(row["task"])["live"]:
            held = "SELECT id FROM runs WHERE task = ? AND state = 'held' ORDER BY token LIMIT 1"
            for following in self.rows(held, row["task"]):
                self.move(following["id"], None)

    def held_by(self, claim: Claim) -> sqlite3.Row | None:
        mine = "SELECT * FROM runs WHERE id = ? AND state = 'running' AND token = ? AND worker = ?"
        return self.row(mine, claim.run.id.value, claim.token, claim.worker.value)


class File:
    """The database: opens it when it is first needed, and makes transactions."""

    def __init__(self, path: Path, clock: Clock, retention: Retention) -> None:
        self._path, self._clock, self._retention = path, clock, retention
        self._connection: sqlite3.Connection | None = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + SCHEMA)
                connection.execute("PRAGMA foreign_keys = ON")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def now(self) -> int:
        return milliseconds(self._clock.now())

    @contextmanager
    def step(self) -> Iterator[Step]:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                step = Step(connection, self.now(), self._retention)
                step.promote()
                yield step
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise BackendUnavailable(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise BackendMisconfigured(f"{self._path}: {error}") from error

    def look(self, statement: str, *values: object) -> object:
        """One value, without a transaction: for those who only want to know whether it is worth one."""
        try:
            row = self._connected().execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise BackendUnavailable(str(error)) from error
        return None if row is None else row[0]

    async def wait(self, timeout: timedelta, ready: Callable[[], bool]) -> None:
        """Look at the file until it is ready, at most for `timeout` of the loop's time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        while not ready() and (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(LOOK, left))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class SqliteLeadership:
    def __init__(self, file: File) -> None:
        self._file = file

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | Held:
        with self._file.step() as step:
            term = step.term()
            if term is None:
                term = Term(candidate, step.next("term"))
                step.put(holder=candidate.value, lease_ends=step.now + _ms(ttl))
            elif term.holder != candidate:
                return Held(term.holder, span(step.number("lease_ends") - step.now))
            return term

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        with self._file.step() as step:
            if step.term() != term:
                return False
            step.put(lease_ends=step.now + _ms(ttl))
            return True

    async def resign(self, term: Term) -> bool:
        with self._file.step() as step:
            if step.term() != term:
                return False
            step.put(lease_ends=step.now)
            step.ring()
            return True


class SqliteCatalogue:
    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, definitions: Sequence[Definition]) -> tuple[int | Conflict, ...]:
        with self._file.step() as step:
            return tuple(self._put(step, definition) for definition in definitions)

    def _put(self, step: Step, definition: Definition) -> int | Conflict:
        key, plan, skipped = definition.task.key, definition.plan, definition.skipped
        old = step.tasks([key]).get(key)
        stands: int = 0 if old is None else old["version"]
        if old is not None and not old["retired"] and codec.decode_task(old["definition"]) == definition.task:
            return stands
        overtaken = old is not None and skipped and old["slot"] != milliseconds(skipped[0].first)
        if definition.expected != stands or overtaken:
            return Conflict(stands)
        if old is None:
            step.rows("INSERT INTO tasks (grp, name) VALUES (?, ?)", key.group, key.name)
        text, version = codec.encode_task(definition.task), step.changed()
        change = "UPDATE tasks SET definition = ?, version = ?, retired = 0 WHERE grp = ? AND name = ? RETURNING id"
        [row] = step.rows(change, text, version, key.group, key.name)
        if old is None or definition.replan:
            step.plan(row["id"], plan)
        step.skip(row["id"], skipped)
        return version

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self._file.step() as step:
            found = step.tasks(keys)
            for row in found.values():
                step.rows("DELETE FROM tasks WHERE id = ?", row["id"])
            if found:
                step.changed()
            return frozenset(found)

    async def load(self, since: int) -> Changes | None:
        with self._file.step() as step:
            version = step.number("version")
            if since == version:
                return None
            rows = step.rows("SELECT * FROM tasks ORDER BY version")
            return Changes(
                version=version,
                incarnation=step.number("incarnation"),
                changed=tuple(
                    StoredTask(task=codec.decode_task(row["definition"]), version=row["version"])
                    for row in rows
                    if row["version"] > since or since > version
                ),
                keys=frozenset(_key(row) for row in rows),
                retired=frozenset(_key(row) for row in rows if row["retired"]),
            )

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        with self._file.step() as step:
            if step.term() != term:
                return Fenced()
            retired = {key: row for key, row in step.tasks(keys).items() if not row["retired"]}
            for row in retired.values():
                step.rows("UPDATE tasks SET retired = 1 WHERE id = ?", row["id"])
            if retired:
                step.changed()
            return frozenset(retired)


class SqliteSchedule:
    def __init__(self, file: File) -> None:
        self._file = file

    async def agenda(self, limit: int) -> Agenda:
        with self._file.step() as step:
            planned = "SELECT * FROM tasks WHERE NOT retired AND due_at "
            due = step.rows(f"{planned} <= ? ORDER BY due_at, grp, name LIMIT ?", step.now, limit)
            later = step.row(f"{planned} > ? ORDER BY due_at LIMIT 1", step.now)
            return Agenda(
                now=instant(step.now),
                due=tuple(self._due(row, step.counts(row["id"])) for row in due),
                next_due=None if later is None else instant(later["due_at"]),
            )

    def _due(self, row: sqlite3.Row, counts: sqlite3.Row) -> DueTask:
        return DueTask(
            key=_key(row),
            version=row["version"],
            slot=instant(row["slot"]),
            paused=bool(row["paused"]),
            resumed_at=_instant(row["resumed_at"]),
            live=counts["live"],
            held=counts["held"],
            retrying=counts["retrying"],
        )

    async def commit(self, term: Term, decisions: Sequence[Advance]) -> tuple[bool, ...] | Fenced:
        with self._file.step() as step:
            if step.term() != term:
                return Fenced()
            return tuple(self._commit(step, decision) for decision in decisions)

    def _commit(self, step: Step, decision: Advance) -> bool:
        row, fire, hold = step.tasks([decision.key]).get(decision.key), decision.fire, decision.hold
        if row is None or row["retired"]:
            return False
        if (row["version"], row["slot"]) != (decision.version, milliseconds(decision.slot)):
            return False
        counts = step.counts(row["id"])
        if (fire or hold) and row["paused"]:
            return False
        if fire and (counts["retrying"] or (fire[0].exclusive and counts["lives"])):
            return False
        if hold and (counts["held"] or not (counts["live"] or fire)):
            return False
        for run in fire:
            step.admit(row["id"], run, RunState.QUEUED)
        if hold:
            step.admit(row["id"], hold, RunState.HELD)
        step.skip(row["id"], decision.skipped)
        step.plan(row["id"], decision.plan)
        return True

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self._file.step() as step:
            found = step.tasks(keys)
            for row in found.values():
                step.rows("UPDATE tasks SET paused = 1 WHERE id = ?", row["id"])
            return frozenset(found)

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self._file.step() as step:
            found = step.tasks(keys)
            for row in found.values():
                step.rows("UPDATE tasks SET paused = 0, resumed_at = ? WHERE id = ? AND paused", step.now, row["id"])
            return frozenset(found)


class SqliteRunQueue:
    def __init__(self, file: File) -> None:
        self._file = file

    async def enqueue(self, runs: Sequence[Run]) -> tuple[Enqueued, ...]:
        with self._file.step() as step:
            step.rows("DELETE FROM requests WHERE at <= ?", step.now - _ms(REQUEST_MEMORY))
            return tuple(self._enqueue(step, run) for run in runs)

    def _enqueue(self, step: Step, run: Run) -> Enqueued:
        task = step.tasks([run.task]).get(run.task)
        if task is None:
            return Enqueued.UNKNOWN_TASK
        known = "SELECT 1 FROM requests WHERE run = ?1 UNION SELECT 1 FROM runs WHERE id = ?1"
        if step.row(known, run.id.value):
            return Enqueued.DUPLICATE
        step.rows("INSERT INTO requests VALUES (?, ?)", run.id.value, step.now)
        held = run.exclusive and step.counts(task["id"])["lives"]
        step.admit(task["id"], run, RunState.HELD if held else RunState.QUEUED)
        return Enqueued.HELD if held else Enqueued.QUEUED

    async def claim(
        self, worker: NodeId, limit: int, wait: timedelta, known: Collection[Claim] | None = None
    ) -> tuple[Claim, ...]:
        claims = self._claim(worker, limit, known)
        if not claims and known is None:
            await self._file.wait(wait, self._anything)
            claims = self._claim(worker, limit, known)
        return claims

    def _anything(self) -> bool:
        ready = "SELECT 1 FROM runs WHERE state = 'queued' OR (state = 'waiting' AND due_at <= ?) LIMIT 1"
        return self._file.look(ready, self._file.now()) is not None

    def _claim(self, worker: NodeId, limit: int, known: Collection[Claim] | None) -> tuple[Claim, ...]:
        with self._file.step() as step:
            claims: list[Claim] = []
            if known is not None:
                mine = step.rows("SELECT * FROM runs WHERE worker = ? ORDER BY token", worker.value)
                claims = [claim for claim in map(_claim, mine) if claim not in known][:limit]
            queued = "SELECT id FROM runs WHERE state = 'queued' ORDER BY low, token LIMIT ?"
            for row in step.rows(queued, limit - len(claims)):
                take = "UPDATE runs SET state = 'running', worker = ?, beat = ? WHERE id = ? RETURNING *"
                claims += map(_claim, step.rows(take, worker.value, step.now, row["id"]))
            return tuple(claims)

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        with self._file.step() as step:
            lost, cancelling = set[Claim](), set[Claim]()
            for claim in claims:
                row = step.held_by(claim)
                if row is None or step.now - row["beat"] >= _ms(ttl):
                    lost.add(claim)
                    continue
                step.rows("UPDATE runs SET beat = ? WHERE id = ?", step.now, row["id"])
                if row["cancelling"]:
                    cancelling.add(claim)
            return Extension(frozenset(lost), frozenset(cancelling))

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        with self._file.step() as step:
            return frozenset(one.claim for one in settlements if not self._settle(step, one))

    def _settle(self, step: Step, settlement: Settlement) -> bool:
        row, outcome = step.held_by(settlement.claim), settlement.outcome
        if row is None:
            return False
        step.record(row["task"], settlement.record())
        if isinstance(outcome, Retried):
            step.move(row["id"], step.now + _ms(outcome.delay), attempts=1, failures=1)
        else:
            step.end(row)
        return True

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        with self._file.step() as step:
            lost = {claim for claim in claims if step.held_by(claim) is None}
            for claim in claims:
                if claim not in lost:
                    due_at = step.now + _ms(delay) if delay else None
                    step.move(claim.run.id.value, due_at, attempts=int(started))
            return frozenset(lost)

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        with self._file.step() as step:
            if step.term() != term:
                return Fenced()
            silent = "SELECT * FROM runs WHERE state = 'running' AND beat <= ? ORDER BY token LIMIT ?"
            rows = step.rows(silent, step.now - _ms(ttl), limit)
            for row in rows:
                step.record(row["task"], _line(row, AttemptStatus.LOST, row["beat"], step.now))
                if row["cancelling"]:
                    step.end(row)
                else:
                    step.move(row["id"], None, attempts=1, failures=1)
            return tuple(map(_claim, rows))

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        with self._file.step() as step:
            return tuple(self._cancel(step, key, run) for key, run in runs)

    def _cancel(self, step: Step, key: TaskKey, run: RunId) -> Cancelling:
        of_task = "SELECT runs.* FROM runs JOIN tasks ON task = tasks.id WHERE runs.id = ? AND grp = ? AND name = ?"
        row = step.row(of_task, run.value, key.group, key.name)
        if row is None:
            return Cancelling.NOT_LIVE
        if row["state"] == "running":
            step.rows("UPDATE runs SET cancelling = 1 WHERE id = ?", row["id"])
            step.ring()
            return Cancelling.REQUESTED
        step.record(row["task"], _line(row, AttemptStatus.CANCELLED, step.now, step.now))
        step.end(row)
        return Cancelling.CANCELLED

    async def hasten(self, keys: Collection[TaskKey]) -> int:
        with self._file.step() as step:
            waiting = [
                run
                for row in step.tasks(keys).values()
                for run in step.rows("SELECT id FROM runs WHERE task = ? AND state = 'waiting'", row["id"])
            ]
            for run in waiting:
                step.move(run["id"], None)
            return len(waiting)


class SqliteHistory:
    def __init__(self, file: File) -> None:
        self._file = file

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        return tuple(map(codec.decode_record, self._lines(key, "attempt", limit)))

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        return tuple(map(codec.decode_skipped, self._lines(key, "skip", limit)))

    def _lines(self, key: TaskKey, kind: str, limit: int) -> list[str]:
        with self._file.step() as step:
            newest = "SELECT body FROM lines WHERE task = ? AND kind = ? ORDER BY id DESC LIMIT ?"
            rows = [row for task in step.tasks([key]).values() for row in step.rows(newest, task["id"], kind, limit)]
            return [row["body"] for row in rows]

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self._file.step() as step:
            found = step.tasks(keys)
            for row in found.values():
                step.rows("DELETE FROM lines WHERE task = ?", row["id"])
                step.rows("DELETE FROM skipped WHERE task = ?", row["id"])
            return frozenset(found)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        with self._file.step() as step:
            everything = {_key(row): row for row in step.rows("SELECT * FROM tasks")}
            chosen = everything if keys is None else step.tasks(keys)
            living = step.rows("SELECT body FROM nodes WHERE until > ? ORDER BY node", step.now)
            [queued] = step.rows("SELECT count(*) AS number FROM runs WHERE state = 'queued'")
            return Snapshot(
                now=instant(step.now),
                term=step.term(),
                tasks=tuple(self._view(step, key, chosen[key]) for key in sorted(chosen)),
                nodes=tuple(codec.decode_presence(row["body"]) for row in living),
                queued=queued["number"],
            )

    def _view(self, step: Step, key: TaskKey, row: sqlite3.Row) -> TaskView:
        runs = step.rows("SELECT * FROM runs WHERE task = ? ORDER BY state = 'held', rowid", row["id"])
        skipped = step.rows("SELECT * FROM skipped WHERE task = ?", row["id"])
        planned = row["slot"] is not None
        return TaskView(
            key=key,
            version=row["version"],
            plan=Plan(slot=instant(row["slot"]), due_at=instant(row["due_at"])) if planned else None,
            paused=bool(row["paused"]),
            retired=bool(row["retired"]),
            live=tuple(map(_live, runs)),
            skipped={SkipReason(one["reason"]): one["number"] for one in skipped},
        )


class SqliteAttendance:
    def __init__(self, file: File) -> None:
        self._file = file

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        with self._file.step() as step:
            step.rows("DELETE FROM nodes WHERE until <= ?", step.now)
            word = codec.encode_presence(presence)
            step.rows("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", presence.node.value, word, step.now + _ms(ttl))

    async def depart(self, node: NodeId) -> None:
        with self._file.step() as step:
            step.rows("DELETE FROM nodes WHERE node = ?", node.value)


class SqliteSignals:
    def __init__(self, file: File) -> None:
        self._file = file

    async def wait(self, timeout: timedelta) -> None:
        heard = self._file.look(SIGNAL)
        await self._file.wait(timeout, lambda: self._file.look(SIGNAL) != heard)


def _key(row: sqlite3.Row) -> TaskKey:
    return TaskKey(row["grp"], row["name"])


def _instant(value: int | None) -> datetime | None:
    return None if value is None else instant(value)


def _claim(row: sqlite3.Row) -> Claim:
    run, worker = codec.decode_run(row["body"]), NodeId(row["worker"] or "")
    return Claim(run=run, attempt=row["attempt"], failures=row["failures"], token=row["token"], worker=worker)


def _live(row: sqlite3.Row) -> LiveRun:
    return LiveRun(
        run=RunId(row["id"]),
        slot=codec.decode_run(row["body"]).slot,
        state=RunState(row["state"]),
        attempt=row["attempt"],
        failures=row["failures"],
        worker=None if row["worker"] is None else NodeId(row["worker"]),
        due_at=_instant(row["due_at"]),
        retrying=bool(row["retrying"]),
        cancelling=bool(row["cancelling"]),
    )


def _line(row: sqlite3.Row, status: AttemptStatus, started_at: int, now: int) -> AttemptRecord:
    """A line that the store writes itself, because no worker can."""
    claim = _claim(row)
    return AttemptRecord(
        run=claim.run.id,
        slot=claim.run.slot,
        attempt=claim.attempt,
        status=status,
        started_at=instant(started_at),
        duration=span(now - started_at),
        worker=claim.worker,
        token=claim.token,
    )


@asynccontextmanager
async def open_file(path: Path, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """Open a store; `partial(open_file, path)` is an OpenBackend. Nothing is touched before the first verb."""
    file = File(path, clock, retention)
    try:
        yield Backend(
            name="sqlite",
            capabilities=Capabilities(durable=True),
            leadership=SqliteLeadership(file),
            catalogue=SqliteCatalogue(file),
            schedule=SqliteSchedule(file),
            queue=SqliteRunQueue(file),
            history=SqliteHistory(file),
            attendance=SqliteAttendance(file),
            signals=SqliteSignals(file),
        )
    finally:
        file.close()


def open_backend(*, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]:
    """The store in the file that TASKS_FILE names."""
    return open_file(Path(os.environ.get("TASKS_FILE", "tasks.sqlite3")), clock=clock, retention=retention)


@asynccontextmanager
async def conformance_harness() -> AsyncGenerator[Harness]:
    """What the conformance suite asks for when a store survives being opened again: an empty one, and how to wipe it."""
    from task_manager_core.testing import ManualClock
    from task_manager_core.testing.conformance import RETENTION, Harness

    clock, numbers = ManualClock(), count()
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as opened:

            async def another() -> Backend:
                path = Path(folder, f"{next(numbers)}.sqlite3")
                return await opened.enter_async_context(open_file(path, clock=clock, retention=RETENTION))

            async def advance(delta: timedelta) -> None:
                clock.advance(delta)

            yield Harness(backend=await another(), advance=advance, wipe=another)
