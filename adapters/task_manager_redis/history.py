"""History in Redis: for each task a list of its attempts, a list of its skips, and the counts in its hash."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import LiveRun, Presence, Snapshot, TaskView
from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord, RunState
from task_manager_core.ports import History
from task_manager_core.ports.codec import (
    decode_presence,
    decode_progress,
    decode_record,
    decode_skipped,
    decode_success,
    instant,
)
from task_manager_redis.batches import RUNS_PER_SCRIPT, TASKS_PER_SCRIPT, batches
from task_manager_redis.catalogue import run_for_tasks
from task_manager_redis.client import RedisClient
from task_manager_redis.driver import Argument
from task_manager_redis.keys import decode, decode_run_id, decode_task, encode_run_id, encode_task, for_display
from task_manager_redis.replies import Reply, items, member, moment, number, pairs, row, text, texts, unexpected, words
from task_manager_redis.scripts import script
from task_manager_redis.unreadable import UnreadableValues

T = TypeVar("T")

LINES_PER_PAGE = 500

LINES_PER_SCRIPT = 2000
"""Most lines that one script reads for several tasks. Each may have 40 kB in the server, and a few hundred bytes in the
answer."""

PAGES_AT_ONCE = 8
"""Most requests of one snapshot at the same time."""

RUNS_PER_SLICE = 200
"""Other tasks run each time that so many live runs have been read: some milliseconds."""

_EPOCH = instant(0)
_STATES = {"q": RunState.QUEUED, "c": RunState.RUNNING, "w": RunState.WAITING}
_CLEAR = script("clear")
_MEMORY = script("memory")
_PROGRESS = script("progress")
_RECENT = script("recent")
_SNAPSHOT = script("snapshot")


class RedisHistory(History):
    def __init__(self, client: RedisClient, unreadable: UnreadableValues) -> None:
        self._client = client
        self._unreadable = unreadable
        self._presences: dict[str, Presence | None] = {}
        """The presences of the last snapshot by their digests; None for one that cannot be read. A presence may be
        large and changes seldom."""
        self._runs_read = 0

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        return await self._newest("attempts", key, limit, f"a line of the history of {key}", decode_record)

    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        names = {encode_task(key): key for key in keys}
        found: dict[TaskKey, tuple[AttemptRecord, ...]] = {}
        size = max(1, min(TASKS_PER_SCRIPT, LINES_PER_SCRIPT // max(limit, 1)))
        for batch, arguments in batches(names, size, _alone):
            answers = items(await self._client.run(_RECENT, limit, *arguments))
            for name, lines in zip(batch, answers, strict=True):
                if lines != "":
                    found[names[name]] = await self._outlines(names[name], texts(lines))
        return found

    async def _outlines(self, key: TaskKey, lines: Sequence[str]) -> tuple[AttemptRecord, ...]:
        """The lines, without the long parts of those that the script has not cut. Other tasks run between two tasks."""
        await asyncio.sleep(0)
        where = partial("a line of the history of {}".format, key)
        read = (self._unreadable.read(where, partial(decode_record, line)) for line in lines)
        return tuple(record.outline() for record in read if record is not None)

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        return await self._newest("skipped", key, limit, f"a skip of {key}", decode_skipped)

    async def _newest(
        self, kind: str, key: TaskKey, limit: int, where: str, decode: Callable[[str], T]
    ) -> tuple[T, ...]:
        read: list[T] = []
        async for lines in self._pages(self._client.key(kind, encode_task(key)), limit):
            decoded = (self._unreadable.read(lambda: where, partial(decode, line)) for line in lines)
            read += [one for one in decoded if one is not None]
        return tuple(read)

    async def _pages(self, name: str, limit: int) -> AsyncGenerator[list[str]]:
        """The newest lines of a list, page by page. Each page has a timeout of its own, and other tasks run between two
        pages.

        A line that is added meanwhile moves the others back by one place. So each request begins with the last line of
        the page before. If that line stands further back now, the lines before it were read, or are newer than this
        reading.
        """
        at, ended = 0, False
        last: str | None = None
        while limit > 0 and not ended:
            size = min(limit, LINES_PER_PAGE) + (last is not None)
            page = await self._client.lines(name, at, size)
            at, ended = at + len(page), len(page) < size
            if last is None or last in page:
                lines = page if last is None else page[page.index(last) + 1 :]
                yield lines
                limit -= len(lines)
                at, last = at - 1, page[-1] if page else None

    async def progress(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Progress | None, ...]:
        found: list[Progress | None] = []
        for batch, arguments in batches(runs, RUNS_PER_SCRIPT, _run_name):
            reports = texts(await self._client.run(_PROGRESS, *arguments))
            for (key, run), report in zip(batch, reports, strict=True):
                where = partial("the report of run {} of {}".format, run.value, key)
                found.append(self._unreadable.read(where, partial(decode_progress, report)) if report else None)
        return tuple(found)

    async def memory(self, key: TaskKey) -> TaskMemory:
        success, cursor = texts(await self._client.run(_MEMORY, encode_task(key)))
        where = partial("the last success of {}".format, key)
        return TaskMemory(
            success=self._unreadable.read(where, partial(decode_success, success)) if success else None,
            cursor=cursor or None,
        )

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        return await run_for_tasks(self._client, _CLEAR, keys)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        """Up to TASKS_PER_SCRIPT tasks are one request, if it is not too large. More tasks are several requests, some
        of them at the same time."""
        first, *others = _pages(sorted({encode_task(key) for key in keys or ()})) or [[]]
        known = self._presences
        (frame, left, views), *answers = await asyncio.gather(
            self._page(first, 1, int(keys is None), known), *map(self._page, others[: PAGES_AT_ONCE - 1])
        )
        pages = deque(others[PAGES_AT_ONCE - 1 :])
        while left or answers or pages:
            for _, rest, more in answers:
                left += rest
                views += more
            pages.extend(_pages(left))
            left = []
            # The timeout of a request includes its wait for other requests, so only some are asked for at once.
            answers = await asyncio.gather(
                *(self._page(pages.popleft()) for _ in range(min(len(pages), PAGES_AT_ONCE)))
            )
        now, holder, token, queued, nodes = row(frame, 5)
        living, unreadable = await self._nodes(nodes, known)
        return Snapshot(
            now=moment(now),
            term=None if holder == "" else Term(NodeId(text(holder)), number(token)),
            tasks=tuple(sorted(views, key=lambda view: (view.key.group, view.key.name))),
            nodes=living,
            queued=number(queued),
            unreadable=unreadable,
        )

    async def _nodes(
        self, nodes: Reply, known: Mapping[str, Presence | None]
    ) -> tuple[tuple[Presence, ...], frozenset[NodeId]]:
        """The presences of the living nodes, and the living nodes whose presences cannot be read."""
        presences: dict[str, Presence | None] = {}
        unreadable: set[NodeId] = set()
        for reply in items(nodes):
            node, digest, presence = texts(row(reply, 3))
            if digest not in known:
                await asyncio.sleep(0)  # A presence may name many tasks, so other tasks run between two.
            where = partial("the presence of {}".format, node)
            read = (
                known[digest] if digest in known else self._unreadable.read(where, partial(decode_presence, presence))
            )
            presences[digest] = read
            if read is None:
                unreadable.add(NodeId(node))
        self._presences = presences
        living = (presence for presence in presences.values() if presence is not None)
        return tuple(sorted(living, key=lambda presence: presence.node)), frozenset(unreadable)

    async def _page(
        self, tasks: Sequence[Argument], framed: int = 0, everything: int = 0, known: Collection[str] = ()
    ) -> tuple[Reply, list[str], list[TaskView]]:
        """One request: its frame, the tasks that are left, and the views. To read the views may take long, so they are
        read when the answer arrives, and other tasks run between two answers."""
        reply = await self._client.run(_SNAPSHOT, framed, TASKS_PER_SCRIPT, everything, len(known), *known, *tasks)
        frame, views, left, ahead, anomalies = row(reply, 5)
        self._unreadable.add_anomalies(anomalies)
        read = [await self._view(view, number(ahead)) for view in items(views)]
        return frame, texts(left), [view for view in read if view is not None]

    async def _view(self, reply: Reply, ahead: int) -> TaskView | None:
        task, *rest = row(reply, 11)
        name = text(task)
        try:
            return await self._view_of(decode_task(name), rest, ahead)
        except BackendCorrupt as error:
            self._unreadable.add_once(BackendCorrupt(f"the state of {for_display(name)}", error.reason))
            return None

    async def _live_runs(self, read: Iterable[LiveRun | None]) -> list[LiveRun]:
        """The runs that could be read. A task may have a hundred thousand."""
        runs: list[LiveRun] = []
        for run in read:
            if run is not None:
                runs.append(run)
            self._runs_read += 1
            if self._runs_read >= RUNS_PER_SLICE:
                self._runs_read = 0
                await asyncio.sleep(0)
        return runs

    async def _view_of(self, key: TaskKey, state: Sequence[Reply], ahead: int) -> TaskView:
        version, slot, due, decided, paused, resumed_at, retired, skips, live, line = state
        read = self._unreadable.read
        runs = await self._live_runs(
            read(partial(_name_of_entry, run, key), partial(_live, run, entry, ahead)) for run, entry in pairs(live)
        )
        held = await self._live_runs(
            read(lambda: f"a held run of {key}", partial(_held, entry)) for entry in texts(line)
        )
        counts = [read(lambda: f"a count of the skips of {key}", partial(_count, *count)) for count in pairs(skips)]
        return TaskView(
            key=key,
            version=number(version),
            next_slot=None if slot == "" else read(lambda: f"the next slot of {key}", partial(_next_slot, slot, due)),
            decided=None
            if decided == ""
            else read(lambda: f"the last decided slot of {key}", partial(moment, decided)),
            paused=paused == "1",
            resumed_at=None
            if resumed_at == ""
            else read(lambda: f"the end of a pause of {key}", partial(moment, resumed_at)),
            retired=retired == 1,
            live=(*sorted(runs, key=_order), *held),
            skipped=dict(count for count in counts if count is not None),
        )


def _pages(names: Sequence[str]) -> list[list[Argument]]:
    return [page for _, page in batches(names, TASKS_PER_SCRIPT, _alone)]


def _run_name(run: tuple[TaskKey, RunId]) -> tuple[Argument, ...]:
    key, name = run
    return encode_task(key), encode_run_id(name)


def _alone(name: str) -> tuple[Argument]:
    return (name,)


def _next_slot(slot: Reply, due: Reply) -> NextSlot:
    return NextSlot(slot=moment(slot), due_at=moment(due))


def _count(reason: str, count: str) -> tuple[SkipReason, int]:
    return member(SkipReason, reason), number(count)


def _order(run: LiveRun) -> tuple[bool, datetime, str]:
    """The order of runs in a view: by slot, then the triggered runs. A hash has no order."""
    return run.slot is None, run.slot or _EPOCH, run.run.value


def _name_of_entry(run: str, key: TaskKey) -> str:
    return f"the entry of run {for_display(run)} of {key}"


def _live(run: str, entry: str, ahead: int) -> LiveRun:
    """A run from its entry, in the words that the scripts write (runs.lua). Its due instant is a steady instant, which
    is `ahead` of the server's time."""
    state, flag, _, worker, _, _, attempt, failures, losses, slot, kind, due, *_ = words(entry, 12)
    at = _STATES.get(state)
    if at is None:
        raise unexpected(entry, "a run entry")
    return LiveRun(
        run=decode_run_id(run),
        slot=_slot(slot),
        state=at,
        attempt=number(attempt),
        failures=number(failures),
        losses=number(losses),
        worker=NodeId(decode(worker)) if at is RunState.RUNNING else None,
        due_at=moment(number(due) - ahead) if at is RunState.WAITING else None,
        retrying=kind == "retry",
        cancelling=flag == "!",
    )


def _held(words_of_run: str) -> LiveRun:
    run, _, slot, *_ = words(words_of_run, 3)
    return LiveRun(run=decode_run_id(run), slot=_slot(slot), state=RunState.HELD, attempt=1, failures=0)


def _slot(word: str) -> datetime | None:
    return None if word == "-" else moment(word)
