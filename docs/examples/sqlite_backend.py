"""A store in one SQLite file, for the processes of one machine: a third backend, complete.

One object implements all ports. Every verb (method of a port) is one `BEGIN IMMEDIATE` transaction: a verb that fails
has changed nothing. The time of the store is the clock of the machine, which all its processes share. A worker that
waits looks at the file fifty times a second. The statements run in the event loop. For many tasks, change that first.

    TaskManager(app, OperationalConfig(), backend=partial(open_file, "tasks.sqlite3"))
    pytest --pyargs task_manager_core.testing.conformance --backend=sqlite_backend:open_backend
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlite_file import UNREADABLE_PAUSE, File, admits, claim_of, due_of, key_of, line_of, live_of, ms, stored_of, until
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, HeldByOther, LeaderSign, Term
from task_manager_core.domain.memory import Remembered, TaskMemory
from task_manager_core.domain.observation import Presence, Snapshot, TaskView
from task_manager_core.domain.planning import Agenda, NextSlot, Skipped, SkipReason, SlotDecision
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.progress import Progress, ProgressReport
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Claim, Retried, Run, Settlement
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import (
    REQUEST_MEMORY,
    AskedOtherwise,
    Backend,
    Cancelling,
    Capabilities,
    Changes,
    Clock,
    Conflict,
    DefinitionWrite,
    Enqueued,
    Extension,
    codec,
)
from task_manager_core.ports.codec import instant, milliseconds, span

if TYPE_CHECKING:
    from task_manager_core.testing.conformance import Harness


class Store(File):
    # -- leadership ---------------------------------------------------------------------------------------------------

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        with self.transaction():
            return self._campaign(candidate, ttl)

    def _campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        term = self._term()
        if term is None:
            return self._grant(candidate, ttl)
        if term.holder == candidate:
            return term
        [lease] = self._do("SELECT ends FROM lease")
        return HeldByOther(term.holder, span(lease["ends"] - self._steady))

    def _grant(self, candidate: NodeId, ttl: timedelta) -> Term:
        term = Term(candidate, self._next("term"))
        self._do("DELETE FROM lease")
        self._do("INSERT INTO lease VALUES (?, ?, ?)", candidate.value, term.token, self._steady + ms(ttl))
        return term

    async def observe(self) -> LeaderSign:
        with self.transaction():
            return self._sign()

    def _sign(self) -> LeaderSign:
        [first] = self._do("SELECT min(due_at) AS due_at FROM tasks WHERE NOT retired")
        [lease] = self._do("SELECT coalesce(max(ends), 0) AS ends FROM lease")
        return LeaderSign(
            now=instant(self._now),
            term=self._term(),
            remaining=span(max(lease["ends"] - self._steady, 0)),
            progress=self._number("progress"),
            first_due=None if first["due_at"] is None else instant(first["due_at"]),
        )

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        with self.transaction():
            sign = self._sign()
            unchanged = (sign.term, sign.progress) == (seen.term, seen.progress)
            due = sign.first_due is not None and sign.first_due <= sign.now
            if sign.term is None or sign.term.holder == candidate or not (due and unchanged):
                return self._campaign(candidate, ttl)
            self._next("signal")
            return self._grant(candidate, ttl)

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        with self.transaction():
            if self._term() != term:
                return False
            self._do("UPDATE lease SET ends = ?", self._steady + ms(ttl))
            return True

    async def resign(self, term: Term) -> bool:
        with self.transaction():
            if self._term() != term:
                return False
            self._do("DELETE FROM lease")
            self._next("signal")
            return True

    # -- catalogue ----------------------------------------------------------------------------------------------------

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        with self.transaction():
            return tuple(map(self._put, definitions))

    def _put(self, new: DefinitionWrite) -> int | Conflict:
        key, old = new.definition.key, self._task(new.definition.key)
        stands: int = old["version"] if old else 0
        if (
            old
            and not old["retired"]
            and stored_of(old) == VersionedDefinition(definition=new.definition, version=stands)
        ):
            return stands
        if new.expected != stands or (old and new.skipped and old["slot"] != milliseconds(new.skipped[0].first)):
            return Conflict(stands)
        passed = max(self._now, old["decided"] or 0) if old else 0
        if old and new.replan and new.next_slot and milliseconds(new.next_slot.slot) <= passed:
            return Conflict(stands)
        if old is None:
            self._do("INSERT INTO tasks (grp, name) VALUES (?, ?)", key.group, key.name)
        version, text = self._changed(key), codec.encode_task(new.definition)
        change = "UPDATE tasks SET definition = ?, version = ?, retired = 0 WHERE grp = ? AND name = ? RETURNING id"
        [row] = self._do(change, text, version, key.group, key.name)
        if old is None or new.replan:
            self._set_next_slot(row["id"], new.next_slot)
        self._skip(row["id"], new.skipped)
        return version

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self.transaction():
            return self._remove(keys)

    def _remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        removed = self._asked(keys, "DELETE FROM tasks WHERE (grp, name) IN asked RETURNING *")
        for key in removed:
            self._changed(key)
        return removed

    async def remove_ended(self, term: Term, versions: Mapping[TaskKey, int]) -> frozenset[TaskKey] | Fenced:
        with self.transaction():
            if self._term() != term:
                return Fenced()
            over = "SELECT * FROM task_state WHERE (grp, name) IN asked AND slot IS NULL AND NOT live AND NOT held"
            ended = self._asked(versions, over)
            return self._remove([key for key in ended if (row := self._task(key)) and row["version"] == versions[key]])

    async def load(self, since: int) -> Changes | None:
        with self.transaction():
            version, known = self._number("version"), self._first("SELECT id FROM changes WHERE version = ?", since)
            if since == version:
                return None
            touched = () if known is None else self._do("SELECT * FROM changes WHERE id > ?", known["id"])
            if known is None:
                rows = self._do("SELECT * FROM tasks ORDER BY version")
            else:
                those = "SELECT * FROM tasks WHERE (grp, name) IN (SELECT grp, name FROM changes WHERE id > ?)"
                rows = self._do(f"{those} ORDER BY version", known["id"])
            newer = {key_of(row): stored_of(row) for row in rows if known is None or row["version"] > since}
            [counted] = self._do("SELECT count(*) AS total FROM tasks")
            return Changes(
                version=version,
                incarnation=self._number("incarnation"),
                complete=known is None,
                changed=tuple(stored for stored in newer.values() if stored),
                removed=frozenset(map(key_of, touched)) - frozenset(map(key_of, rows)),
                retired=frozenset(key_of(row) for row in rows if row["retired"]),
                unreadable=frozenset(key for key, stored in newer.items() if stored is None),
                total=counted["total"],
            )

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        with self.transaction():
            if self._term() != term:
                return Fenced()
            retired = self._asked(
                keys, "UPDATE tasks SET retired = 1 WHERE NOT retired AND (grp, name) IN asked RETURNING *"
            )
            for key in retired:
                self._changed(key)
            return retired

    # -- dispatch -----------------------------------------------------------------------------------------------------

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        with self.transaction():
            due = (
                "SELECT * FROM task_state WHERE NOT retired AND due_at <= ? ORDER BY due_at, grp, name LIMIT ? OFFSET ?"
            )
            following = (
                "SELECT due_at, count(*) AS upcoming FROM tasks WHERE NOT retired AND due_at > ?"
                " GROUP BY due_at ORDER BY due_at LIMIT 1"
            )
            later = next(iter(self._do(following, self._now)), None)
            overdue = "SELECT 1 FROM tasks WHERE NOT retired AND due_at <= ? LIMIT 1"
            if term is not None and self._term() == term and self._do(overdue, self._now):
                self._next("progress")
            return Agenda(
                now=instant(self._now),
                due=tuple(map(due_of, self._do(due, self._now + ms(ahead), limit, skip))),
                next_due=None if later is None else instant(later["due_at"]),
                upcoming=0 if later is None else later["upcoming"],
            )

    async def anticipate(self, decisions: Sequence[SlotDecision]) -> None:
        """There is nothing to translate."""

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        with self.transaction():
            if self._term() != term:
                return Fenced()
            self._next("progress")
            return tuple(map(self._commit, decisions))

    def _commit(self, decision: SlotDecision) -> bool:
        task, dispatch, hold = self._task(decision.key), decision.dispatch, decision.hold
        if task is None or task["retired"] or task["due_at"] is None or task["due_at"] > self._now:
            return False
        if (task["version"], task["slot"]) != (decision.version, milliseconds(decision.slot)):
            return False
        if (dispatch or hold) and task["paused"]:
            return False
        if dispatch and (task["retrying"] or not admits(task, dispatch[0], len(dispatch))):
            return False
        if hold and (task["held"] or not (task["live"] or dispatch)):
            return False
        for run in dispatch:
            self._admit(task["id"], run, "queued")
        if hold:
            self._admit(task["id"], hold, "held")
        self._skip(task["id"], decision.skipped)
        self._set_next_slot(task["id"], decision.next_slot)
        if decision.last:
            self._do("UPDATE tasks SET decided = ? WHERE id = ?", milliseconds(decision.last), task["id"])
        return True

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self.transaction():
            return self._asked(keys, "UPDATE tasks SET paused = 1 WHERE (grp, name) IN asked RETURNING *")

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self.transaction():
            active = "UPDATE tasks SET paused = 0, resumed_at = ? WHERE paused AND (grp, name) IN asked"
            self._asked(keys, active, self._now)
            return self._asked(keys)

    # -- run queue ----------------------------------------------------------------------------------------------------

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        with self.transaction():
            self._do("DELETE FROM requests WHERE until <= ?", self._steady)
            other = "SELECT 1 FROM requests WHERE run = ? AND asked <> ?"
            others = frozenset(run.id for run in runs if self._do(other, run.id.value, asked))
            return AskedOtherwise(others) if others else tuple(self._enqueue(run, asked, memory, delay) for run in runs)

    def _enqueue(self, run: Run, asked: str, memory: timedelta, delay: timedelta) -> Enqueued:
        task = self._task(run.task)
        if task is None:
            return Enqueued.UNKNOWN_TASK
        if self._do("SELECT 1 FROM requests WHERE run = ?1 UNION SELECT 1 FROM runs WHERE id = ?1", run.id.value):
            return Enqueued.DUPLICATE
        request = run.id.value, task["id"], asked, self._steady + ms(memory)
        self._do("INSERT INTO requests VALUES (?, ?, ?, ?)", *request)
        held = not admits(task, run)
        answer = Enqueued.HELD if held else Enqueued.WAITING if delay > timedelta(0) else Enqueued.QUEUED
        due_at = self._steady + ms(delay) if answer is Enqueued.WAITING else None
        self._admit(task["id"], run, answer.value, due_at)
        return answer

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        timeout = wait if known is None else timedelta(0)
        return await until(timeout, lambda: self._claim(worker, limit, known, scope))

    def _claim(self, worker: NodeId, limit: int, known: Collection[Claim] | None, scope: Scope) -> tuple[Claim, ...]:
        with self.transaction():
            self._asked(scope.without)
            held = [] if known is None else self._do("SELECT * FROM runs WHERE worker = ? ORDER BY token", worker.value)
            claims = [claim for claim in self._claims(held) if claim not in (known or ())][:limit]
            served = None if scope.queues is None else json.dumps(sorted(scope.queues))
            queued = (
                "SELECT id FROM runs WHERE state = 'queued' AND task NOT IN (SELECT id FROM existing)"
                " AND (?1 IS NULL OR queue IN (SELECT value FROM json_each(?1))) ORDER BY low, token LIMIT ?2"
            )
            for row in self._do(queued, served, limit - len(claims)):
                take = "UPDATE runs SET state = 'running', token = ?, worker = ?, beat = ? WHERE id = ? RETURNING *"
                claims += self._claims(self._do(take, self._next("token"), worker.value, self._steady, row["id"]))
            return tuple(claims)

    def _claims(self, rows: Iterable[sqlite3.Row]) -> list[Claim]:
        """Let a run that cannot be read wait, for a worker that can read it."""
        read = [(row, self._read(f"run {row['id']}", partial(claim_of, row))) for row in rows]
        for row in (row for row, claim in read if claim is None):
            self._move(row["id"], self._steady + UNREADABLE_PAUSE)
        return [claim for _, claim in read if claim is not None]

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        with self.transaction():
            found = [(claim, self._of(claim)) for claim in claims]
            live = {claim: row for claim, row in found if row and self._steady - row["beat"] < ms(ttl)}
            for row in live.values():
                self._do("UPDATE runs SET beat = ? WHERE id = ?", self._steady, row["id"])
            cancelling = frozenset(claim for claim, row in live.items() if row["cancelling"])
            return Extension(frozenset(claims) - live.keys(), cancelling)

    async def report(self, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:  # noqa: ARG002 - kept longer
        with self.transaction():
            return frozenset(report.claim for report in reports if not self._report(report))

    def _report(self, report: ProgressReport) -> bool:
        row = self._of(report.claim)
        if row:
            text = codec.encode_progress(report.progress)
            self._do("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", row["id"], row["token"], text)
        return row is not None

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        with self.transaction():
            return frozenset(settlement.claim for settlement in settlements if not self._settle(settlement))

    def _settle(self, settlement: Settlement) -> bool:
        row, outcome = self._of(settlement.claim), settlement.outcome
        if row is None:
            return False
        self._record(row["task"], settlement.record())
        if settlement.remembered is not None:
            self._remember(row["task"], settlement.remembered)
        if isinstance(outcome, Retried) and not row["cancelling"]:
            self._move(row["id"], self._steady + ms(outcome.delay), attempts=1, failures=1)
        else:
            self._end(row)
        return True

    def _remember(self, task: int, remembered: Remembered) -> None:
        change = (
            "INSERT INTO memories VALUES (?1, ?2, ?3)"
            " ON CONFLICT DO UPDATE SET success = ?2, cursor = coalesce(?3, cursor)"
        )
        self._do(change, task, codec.encode_success(remembered.success), remembered.cursor)

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        with self.transaction():
            held = {claim: row for claim in claims if (row := self._of(claim))}
            for row in held.values():
                if row["cancelling"]:
                    line = line_of(row, AttemptStatus.CANCELLED, started_at=self._now, now=self._now)
                    self._record(row["task"], line)
                    self._end(row)
                else:
                    self._move(row["id"], self._steady + ms(delay) if delay else None, attempts=int(started))
            return frozenset(claims) - held.keys()

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        with self.transaction():
            if self._term() != term:
                return Fenced()
            silent = "SELECT * FROM runs WHERE state = 'running' AND beat <= ? ORDER BY token LIMIT ?"
            rows = self._do(silent, self._steady - ms(ttl), limit)
            for row in rows:
                beat = row["beat"] - self._ahead
                self._record(row["task"], line_of(row, AttemptStatus.LOST, started_at=beat, now=self._now))
                if row["cancelling"]:
                    self._end(row)
                else:
                    self._move(row["id"], None, attempts=1, losses=1)
            reaped = (self._read(f"run {row['id']}", partial(claim_of, row)) for row in rows)
            return tuple(claim for claim in reaped if claim is not None)

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        with self.transaction():
            return tuple(self._cancel(key, run) for key, run in runs)

    def _cancel(self, key: TaskKey, run: RunId) -> Cancelling:
        of = "SELECT runs.* FROM runs JOIN tasks ON task = tasks.id WHERE runs.id = ? AND grp = ? AND name = ?"
        row = self._first(of, run.value, key.group, key.name)
        if row is None:
            return Cancelling.NOT_LIVE
        if row["state"] == "running":
            self._do("UPDATE runs SET cancelling = 1 WHERE id = ?", row["id"])
            self._next("signal")
            return Cancelling.REQUESTED
        line = line_of(row, AttemptStatus.CANCELLED, started_at=self._now, now=self._now)
        self._record(row["task"], line)
        self._end(row)
        return Cancelling.CANCELLED

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        with self.transaction():
            self._asked(keys)
            waits = "SELECT id FROM runs WHERE state = 'waiting' AND NOT delayed AND task IN (SELECT id FROM existing)"
            waiting = self._do(waits)
            left = {run.value for _, run in spared}
            chosen = [row["id"] for row in waiting if row["id"] not in left]
            for run in chosen:
                self._move(run, None)
            return len(chosen)

    # -- history ------------------------------------------------------------------------------------------------------

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        with self.transaction():
            return self._records(key, limit)

    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        with self.transaction():
            return {key: tuple(one.outline() for one in self._records(key, limit)) for key in self._asked(keys)}

    def _records(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        return self._readable(f"a line of {key}", self._lines(key, "attempt", limit), codec.decode_record)

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        with self.transaction():
            return self._readable(f"a skip of {key}", self._lines(key, "skip", limit), codec.decode_skipped)

    async def progress(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Progress | None, ...]:
        with self.transaction():
            return tuple(self._progress(key, run) for key, run in runs)

    def _progress(self, key: TaskKey, run: RunId) -> Progress | None:
        reported = (
            "SELECT reports.body FROM reports JOIN runs ON runs.id = reports.run AND runs.token = reports.token"
            " WHERE run = ? AND state = 'running' AND task = ?"
        )
        task = self._task(key)
        row = self._first(reported, run.value, task["id"]) if task else None
        return self._read(f"the report of {run}", partial(codec.decode_progress, row["body"])) if row else None

    async def memory(self, key: TaskKey) -> TaskMemory:
        with self.transaction():
            task = self._task(key)
            row = self._first("SELECT * FROM memories WHERE task = ?", task["id"]) if task else None
            if row is None:
                return TaskMemory()
            success = self._read(f"the last success of {key}", partial(codec.decode_success, row["success"]))
            return TaskMemory(success=success, cursor=row["cursor"])

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        with self.transaction():
            existing = self._asked(keys)
            self._do("DELETE FROM lines WHERE task IN (SELECT id FROM existing)")
            self._do("DELETE FROM skipped WHERE task IN (SELECT id FROM existing)")
            return existing

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        with self.transaction():
            rows = {key_of(row): row for row in self._do("SELECT * FROM tasks ORDER BY grp, name")}
            living = self._do("SELECT * FROM nodes WHERE until > ? ORDER BY node", self._steady)
            nodes = self._readable("a presence", (row["body"] for row in living), codec.decode_presence)
            [queued] = self._do("SELECT count(*) AS runs FROM runs WHERE state = 'queued'")
            return Snapshot(
                now=instant(self._now),
                term=self._term(),
                tasks=tuple(self._view(key, row) for key, row in rows.items() if keys is None or key in keys),
                nodes=nodes,
                queued=queued["runs"],
                unreadable=frozenset(NodeId(row["node"]) for row in living) - {node.node for node in nodes},
            )

    def _view(self, key: TaskKey, row: sqlite3.Row) -> TaskView:
        runs = self._do("SELECT * FROM runs WHERE task = ? ORDER BY state = 'held', rowid", row["id"])
        skipped = self._do("SELECT * FROM skipped WHERE task = ?", row["id"])
        next_slot = None if row["slot"] is None else NextSlot(slot=instant(row["slot"]), due_at=instant(row["due_at"]))
        return TaskView(
            key=key,
            version=row["version"],
            next_slot=next_slot,
            decided=None if row["decided"] is None else instant(row["decided"]),
            paused=bool(row["paused"]),
            resumed_at=None if row["resumed_at"] is None else instant(row["resumed_at"]),
            retired=bool(row["retired"]),
            live=tuple(live_of(run, self._ahead) for run in runs),
            skipped={SkipReason(one["reason"]): one["number"] for one in skipped},
        )

    # -- membership and notifier --------------------------------------------------------------------------------------

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        with self.transaction():
            self._do("DELETE FROM nodes WHERE until <= ?", self._steady)
            body, until = codec.encode_presence(presence), self._steady + ms(ttl)
            self._do("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", presence.node.value, body, until)

    async def depart(self, node: NodeId) -> None:
        with self.transaction():
            self._do("DELETE FROM nodes WHERE node = ?", node.value)

    async def wait(self, timeout: timedelta) -> None:
        before = self._signals()
        await until(timeout, lambda: self._signals() != before)

    def _signals(self) -> int:
        with self.transaction():
            return self._number("signal")


@asynccontextmanager
async def open_file(path: str | Path, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """Open a store. `partial(open_file, path)` is an OpenBackend. The first verb opens the file."""
    one = Store(Path(path), clock, retention)
    try:
        yield Backend(
            name="sqlite",
            capabilities=Capabilities(durable=True),
            leadership=one,
            catalogue=one,
            dispatch=one,
            queue=one,
            history=one,
            membership=one,
            notifier=one,
            unreadable=one.unreadable,
        )
    finally:
        one.close()


def open_backend(*, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]:
    """The store in the file that TASKS_FILE names."""
    return open_file(os.environ.get("TASKS_FILE", "tasks.sqlite3"), clock=clock, retention=retention)


@asynccontextmanager
async def conformance_harness() -> AsyncGenerator[Harness]:
    """For the conformance suite: an empty store that outlives its openings, and how to lose what it holds."""
    from task_manager_core.testing import ManualClock  # noqa: PLC0415 - not where the store is used
    from task_manager_core.testing.conformance import RETENTION, Harness  # noqa: PLC0415 - the same

    clock, paths = ManualClock(), list[Path]()
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as opened:

            async def another() -> Backend:
                paths.append(Path(folder, f"{len(paths)}.sqlite3"))
                return await opened.enter_async_context(reopen())

            def reopen() -> AbstractAsyncContextManager[Backend]:
                return open_file(paths[-1], clock=clock, retention=RETENTION)

            async def advance(delta: timedelta) -> None:
                clock.advance(delta)

            async def set_back(delta: timedelta) -> None:
                clock.set_wall(clock.now() - delta)

            yield Harness(backend=await another(), advance=advance, wipe=another, set_back=set_back, reopen=reopen)
