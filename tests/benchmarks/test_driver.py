"""The driver of this project answers every request of the harness."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.bench import settled
from tests.benchmarks.driver import Settings
from tests.benchmarks.process import DriverError, driving
from tests.benchmarks.store import Copy, cluster, memory_of, work_of
from tests.redis_server import RedisServer
from tests.waiting import wait_until_async

COMMAND = (sys.executable, "-m", "tests.benchmarks.task_manager")
RUNS = 400


async def test_a_queue_is_copied_and_emptied(own_redis_server: RedisServer) -> None:
    settings = Settings(url=own_redis_server.url, name="bench", kind="runs", works=False)
    async with driving(COMMAND, {}, settings) as driver:
        assert (await driver.ask("hello"))["packages"]["redis"]
        await driver.ask("queue", runs=RUNS)
        await driver.leave()
    copy = Copy(own_redis_server)
    for _ in range(2):
        copy.restore()
        before = work_of([own_redis_server])
        async with driving(COMMAND, {}, Settings(url=own_redis_server.url, name="bench", kind="runs")) as driver:
            answer = await driver.ask("run", runs=RUNS)
            await settled(driver, RUNS)
        assert answer["began"] < answer["first"] < answer["last"]
        assert (work_of([own_redis_server]) - before).commands > 0


async def test_a_trigger_reaches_the_other_process(own_redis_server: RedisServer) -> None:
    asking = Settings(url=own_redis_server.url, name="bench", kind="runs", works=False)
    idle = Settings(url=own_redis_server.url, name="bench", kind="runs", schedules=False)
    async with driving(COMMAND, {}, asking) as one, driving(COMMAND, {}, idle) as other:
        await one.ask("start")
        await other.ask("start")
        asked = (await one.ask("trigger", count=3, pause=0.0, first=7))["asked"]
        started: list[list[float]] = []
        async with asyncio.timeout(20):
            while len(started) < len(asked):
                started += (await other.ask("marks"))["marks"]
        assert sorted(number for number, _ in started) == [7, 8, 9]
        assert (await one.ask("marks"))["marks"] == []


async def test_a_burst_starts_every_task_at_its_slot(own_redis_server: RedisServer) -> None:
    for lead in (5, 15, 45):  # seconds until the slot; a machine that is too busy for the first one gets more
        slot = int(time.time()) + lead
        settings = Settings(url=own_redis_server.url, name=f"bench{lead}", kind="burst", tasks=20, slot=slot)
        async with driving(COMMAND, {}, settings) as driver:
            await driver.ask("start")
            if time.time() > slot - 1:
                continue
            marks: list[tuple[int, float]] = []
            async with asyncio.timeout(60):
                while len(marks) < settings.tasks:
                    marks += (await driver.ask("marks"))["marks"]
            assert {number for number, _ in marks} == set(range(settings.tasks))
            assert all(at >= slot for _, at in marks)
            assert len((await driver.ask("facts"))["dispatched"]) == settings.tasks
            return
    raise AssertionError("it never took part in time")


async def test_an_every_second_task_leaves_its_effects(own_redis_server: RedisServer, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    settings = Settings(url=own_redis_server.url, name="bench", kind="second", effects=str(effects), defaults=True)
    async with driving(COMMAND, {}, settings) as driver:
        await driver.ask("start")
        await wait_until_async(effects.read_text, "the task has run", 20.0)
        assert (await driver.ask("facts"))["leads"]
        assert {line.split()[1] for line in effects.read_text().splitlines()} == {str(driver.pid)}
        usage = await driver.ask("usage")
        assert usage["rss"] > 0
        assert usage["cpu"] > 0


async def test_a_driver_that_fails_says_why(own_redis_server: RedisServer) -> None:
    async with driving(COMMAND, {}, Settings(url=own_redis_server.url, name="bench", kind="runs")) as driver:
        with pytest.raises(DriverError, match=r"only 0 of 5 runs ended within 0\.5 s"):
            await driver.ask("run", patience=0.5, runs=5)
    async with driving(
        (sys.executable, "-c", "raise SystemExit('no such module')"), {}, settings_of(own_redis_server)
    ) as driver:
        with pytest.raises(DriverError, match="the driver ended; it wrote: no such module"):
            await driver.ask("hello")


def settings_of(server: RedisServer) -> Settings:
    return Settings(url=server.url, name="bench", kind="runs")


def test_a_cluster_of_three_nodes_comes_up() -> None:
    with cluster(3) as nodes:
        assert [memory_of(node) > 0 for node in nodes] == [True, True, True]
