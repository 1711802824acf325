"""A start writes and reads the definitions of a process in batches, and no definition by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from task_manager_core.ports import codec
from task_manager_core.testing.clock import ManualClock
from task_manager_redis.batches import TASKS_PER_SCRIPT, in_order
from task_manager_redis.client import RedisClient
from task_manager_redis.driver import Argument
from task_manager_redis.replies import Reply
from task_manager_redis.scripts import Script
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted
from tests.application.cluster import NOON, Process, a_task


@pytest_asyncio.fixture
async def shifted(redis_url: str) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(redis_url) as shifted:
        yield shifted


@pytest.fixture(name="scripts")
def scripts_that_run(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each script runs."""
    scripts: Counter[str] = Counter()
    run = RedisClient.run

    async def counted(client: RedisClient, verb: Script, *arguments: Argument) -> Reply:
        scripts[verb.name] += 1
        return await run(client, verb, *arguments)

    monkeypatch.setattr(RedisClient, "run", counted)
    return scripts


async def started(shifted: ShiftedRedis, tasks: int, name: str = "first") -> Process:
    process = Process(name, shifted.backend, ManualClock(NOON))
    for number in range(tasks):
        process.declares(a_task(f"{number}"))
    await process.node.registrar.tick()
    return process


@pytest.mark.parametrize(("tasks", "batches"), [(1, 1), (TASKS_PER_SCRIPT - 1, 1), (5 * TASKS_PER_SCRIPT - 1, 5)])
async def test_a_first_start_takes_a_script_for_each_batch_of_definitions(
    shifted: ShiftedRedis, scripts: Counter[str], tasks: int, batches: int
) -> None:
    process = await started(shifted, tasks)
    assert len(list(process.node.definitions)) == tasks
    # One reading finds the store empty, and one reads back what was written. Only the time is asked for in between.
    assert scripts == {"announce": 1, "load": 1 + batches, "agenda": 1, "put": batches}


async def test_a_start_on_a_full_store_only_reads(shifted: ShiftedRedis, scripts: Counter[str]) -> None:
    await started(shifted, 3 * TASKS_PER_SCRIPT - 1)
    scripts.clear()
    process = await started(shifted, 3 * TASKS_PER_SCRIPT - 1, "second")
    assert len(list(process.node.definitions)) == 3 * TASKS_PER_SCRIPT - 1
    assert scripts == {"announce": 1, "load": 3}


async def test_a_process_keeps_its_own_definitions_once(shifted: ShiftedRedis) -> None:
    await started(shifted, 2)
    codec.forget_decoded()
    process = await started(shifted, 2, "second")
    for stored in process.node.definitions:
        assert stored.definition is process.declarations.declaration(stored.definition.key)


# -- one batch is prepared while the server works on another one ------------------------------------------------------


class Server:
    """Answers a batch when the test says so."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.door = asyncio.Event()

    def batches(self) -> Iterator[int]:
        for batch in (1, 2, 3):
            self.steps.append(f"prepare {batch}")
            yield batch

    async def ask(self, batch: int) -> int:
        self.steps.append(f"send {batch}")
        await self.door.wait()
        self.steps.append(f"answer {batch}")
        return batch * 10


async def test_a_batch_is_prepared_before_the_answer_to_the_last_one_and_sent_after_it() -> None:
    server = Server()
    asked = asyncio.create_task(in_order(server.batches(), server.ask))
    for _ in range(3):
        await asyncio.sleep(0)
    assert server.steps == ["prepare 1", "send 1", "prepare 2"]
    server.door.set()
    assert await asked == [10, 20, 30]
    for before, after in (("answer 1", "send 2"), ("answer 2", "send 3")):
        assert server.steps.index(before) < server.steps.index(after)


async def test_nothing_is_in_flight_after_a_failure_or_a_cancellation() -> None:
    server = Server()

    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("cannot be prepared")

    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="prepared"):
        await in_order(breaks(), server.ask)
    assert asyncio.all_tasks() == before
    asked = asyncio.create_task(in_order(server.batches(), server.ask))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert asyncio.all_tasks() == before
    assert server.steps == ["send 1", "prepare 1", "send 1"]


async def test_no_batch_asks_nothing() -> None:
    assert await in_order([], Server().ask) == []
