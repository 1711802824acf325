"""History in Redis: a list of lines and one of skips per task, newest first; counts in the hash of the task."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime

from task_manager_core.domain.codec import decode_presence, decode_record, decode_skipped, instant
from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.observation import LiveRun, Snapshot, TaskView
from task_manager_core.domain.planning import Plan, Skipped, SkipReason
from task_manager_core.domain.run import AttemptRecord, RunState
from task_manager_redis.batches import TASKS_PER_SCRIPT, batches
from task_manager_redis.client import RedisClient
from task_manager_redis.keys import decode_run_id, decode_task, encode_task
from task_manager_redis.replies import Reply, items, number, text, texts
from task_manager_redis.scripts import script

_EPOCH = instant(0)
_CLEAR = script("clear")
_SNAPSHOT = script("snapshot")


class RedisHistory:
    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        lines = await self._client.newest(self._client.key("history", encode_task(key)), limit)
        return tuple(map(decode_record, lines))

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        lines = await self._client.newest(self._client.key("skips", encode_task(key)), limit)
        return tuple(map(decode_skipped, lines))

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found: set[TaskKey] = set()
        for some in batches([encode_task(key) for key in keys], TASKS_PER_SCRIPT):
            found.update(map(decode_task, texts(await self._client.run(_CLEAR, *some))))
        return frozenset(found)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        """Up to TASKS_PER_SCRIPT tasks are one reading. More of them are several, asked for at once."""
        asked = sorted({encode_task(key) for key in keys or ()})
        frame, *parts = await asyncio.gather(
            self._part(asked[:TASKS_PER_SCRIPT], everything=keys is None, framed=True),
            *(self._part(some) for some in batches(asked[TASKS_PER_SCRIPT:], TASKS_PER_SCRIPT)),
        )
        if left := texts(frame[2]):
            parts += await asyncio.gather(*(self._part(some) for some in batches(left, TASKS_PER_SCRIPT)))
        views = [_view(row) for part in (frame, *parts) for row in items(part[1])]
        now, holder, token, queued, presences = items(frame[0])
        return Snapshot(
            now=instant(number(now)),
            term=None if holder == "" else Term(NodeId(text(holder)), number(token)),
            tasks=tuple(sorted(views, key=lambda view: view.key)),
            nodes=tuple(sorted(map(decode_presence, texts(presences)), key=lambda presence: presence.node)),
            queued=number(queued),
        )

    async def _part(self, tasks: Sequence[str], *, everything: bool = False, framed: bool = False) -> list[Reply]:
        return items(
            await self._client.run(_SNAPSHOT, int(framed), TASKS_PER_SCRIPT, int(everything), *tasks),
        )


def _view(row: Reply) -> TaskView:
    task, version, slot, due, paused, resumed_at, retired, skips, runs = items(row)
    counts = items(skips)
    try:
        skipped = {
            SkipReason(text(reason)): number(count) for reason, count in zip(counts[::2], counts[1::2], strict=True)
        }
    except ValueError as error:
        raise BackendCorrupt("the counts of a task", str(error)) from None
    return TaskView(
        key=decode_task(text(task)),
        version=number(version),
        plan=None if slot == "" else Plan(slot=instant(number(slot)), due_at=instant(number(due))),
        paused=paused == "1",
        resumed_at=None if resumed_at == "" else instant(number(resumed_at)),
        retired=retired == 1,
        live=tuple(sorted(map(_live, items(runs)), key=_line)),
        skipped=skipped,
    )


def _line(run: LiveRun) -> tuple[bool, bool, datetime, str]:
    """The order of runs in a view, because a hash has none: by slot, then the triggered ones, then the held ones."""
    if run.state is RunState.HELD:
        return True, True, _EPOCH, ""
    return False, run.slot is None, run.slot or _EPOCH, run.run.value


def _live(row: Reply) -> LiveRun:
    run, state, cancelling, attempt, failures, slot, who, due = items(row)
    waits = state == RunState.WAITING.value
    return LiveRun(
        run=decode_run_id(text(run)),
        slot=None if slot == "-" else instant(number(slot)),
        state=RunState(text(state)),
        attempt=number(attempt),
        failures=number(failures),
        worker=NodeId(text(who)) if who and not waits else None,
        due_at=instant(number(due)) if waits else None,
        retrying=waits and who == "retry",
        cancelling=cancelling == 1,
    )
