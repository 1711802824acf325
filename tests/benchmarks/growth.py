"""Costs that must not grow: the longest script of each step with 10,000 and 100,000 items, in the server's own time.

While a script runs, every other command waits. With more items a step may take more scripts, but no script may take
longer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import redis

from fastapi_task_manager.container import SystemClock
from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.recurrence import Cron
from task_manager_core.domain.run import Retried, Settlement
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import REPEAT_MEMORY, Backend, DefinitionWrite
from task_manager_redis import RedisSettings, redis_backend
from tests.redis_server import RedisServer

SIZES = (10_000, 100_000)
AT_ONCE = 1_000
HOUR = timedelta(hours=1)
NODE = NodeId("bench")

MOST_LOGGED, LOGGED = 100_000, 50
"""Microseconds. Faster scripts are not logged, because the log itself would keep the server busy."""


@dataclass(slots=True)
class Rows:
    """Per step the longest script in milliseconds and the number of those that were logged, for each size."""

    server: redis.Redis
    found: dict[str, list[tuple[float, int]]] = field(default_factory=dict[str, list[tuple[float, int]]])

    async def measure(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        self.server.config_set("slowlog-log-slower-than", LOGGED)
        self.server.config_set("slowlog-max-len", MOST_LOGGED)
        self.server.slowlog_reset()
        await step()
        entries = self.server.slowlog_get(MOST_LOGGED)
        self.server.config_set("slowlog-log-slower-than", -1)
        scripts = sorted(int(entry["duration"]) / 1e3 for entry in entries if entry["command"].startswith(b"EVAL"))
        # The machine interrupts some of many scripts, so the slowest one in twenty is left out.
        longest = scripts[-1 - len(scripts) // 20] if scripts else LOGGED / 1e3
        self.found.setdefault(name, []).append((longest, len(scripts)))

    def lines(self, sizes: Sequence[int]) -> list[str]:
        """The measured row, with the ratio of the largest size to the smallest."""
        head = f"  {'':44}" + "".join(f"{size:>24,}" for size in sizes) + f"{'ratio':>8}"
        rows = [
            f"  {name:44}"
            + "".join(f"{longest:11.2f} ms of {scripts:4}" for longest, scripts in found)
            + f"{found[-1][0] / found[0][0]:8.1f}"
            for name, found in self.found.items()
        ]
        return [head, *rows]


def _task() -> TaskDefinition:
    cron = Cron(expression=CronExpression.parse("0 0 1 1 *"))
    return TaskDefinition(key=TaskKey("bench", "task"), schedule=Schedule(rules=(cron,)), function="nothing")


async def growth(server: RedisServer, sizes: Sequence[int] = SIZES) -> None:
    """Print the rows."""
    print("\ngrowth: the longest script of a step, and of how many")
    with redis.Redis.from_url(server.url) as client:
        rows = Rows(client)
        for size in sizes:
            settings = RedisSettings(url=server.url, prefix=f"growth {size}")
            async with redis_backend(settings)(clock=SystemClock(), retention=Retention()) as backend:
                await _runs(backend, rows, size)
    print("\n".join(rows.lines(sizes)))


async def _runs(backend: Backend, rows: Rows, size: int) -> None:
    """Many runs of one task wait; then they are queued."""
    task = _task()
    [version] = await backend.catalogue.put([DefinitionWrite(definition=task, expected=0, replan=True, next_slot=None)])
    assert isinstance(version, int)
    now = (await backend.dispatch.agenda(0)).now
    term = await backend.leadership.campaign(NODE, HOUR)
    assert isinstance(term, Term)
    for first in range(0, size, AT_ONCE):
        runs = [task.run_of_request(f"{number}", version, None) for number in range(first, min(first + AT_ONCE, size))]
        await backend.queue.enqueue(runs, memory=REPEAT_MEMORY)
        claims = await backend.queue.claim(NODE, AT_ONCE, HOUR)
        ends = [
            Settlement(claim=claim, outcome=Retried(HOUR), started_at=now, duration=timedelta(0)) for claim in claims
        ]
        await backend.queue.settle(ends)

    async def trigger(name: str) -> None:
        run = task.run_of_request(name, version, None)
        await backend.queue.enqueue([run], memory=REPEAT_MEMORY)
        await backend.queue.promote([task.key], [(task.key, run.id)])

    async def look() -> None:
        await backend.queue.claim(NODE, 10, timedelta(0))
        await backend.dispatch.agenda(100)
        await backend.queue.reap(term, HOUR, 500)
        await backend.history.snapshot(())

    await rows.measure("an idle look amid waiting retries", look)
    await rows.measure("a trigger amid waiting retries", partial(trigger, "first"))
    await rows.measure("the next trigger", partial(trigger, "second"))
    await rows.measure("a claim, a look amid queued runs", look)
    await rows.measure("the removal of a task with queued runs", lambda: backend.catalogue.remove([task.key]))
