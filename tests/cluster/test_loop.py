"""The end of a simulation: what is left over has no effect."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.loop import SimLoop
from task_manager_core.testing.cluster.process import node
from task_manager_core.testing.cluster.run import run_simulation, sim_loop, spawn
from tests.cluster.harness import simulate


def test_what_is_left_at_the_end_cannot_affect_anything() -> None:
    port, refused, reached = list[str](), list[str](), list[str]()

    def store(loop: SimLoop, operation: str) -> None:
        """What a simulated port does."""
        (refused if loop.is_dead(node.get()) else port).append(f"{operation} by {node.get()}")

    async def tidy(loop: SimLoop) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            store(loop, "write")
            for attempt in (
                lambda: loop.call_soon(reached.append, "soon"),
                lambda: loop.call_soon_threadsafe(reached.append, "threadsafe"),
                lambda: loop.call_later(0, reached.append, "later"),
                lambda: loop.create_task(tidy(loop)),
                lambda: loop.run_in_executor(None, reached.append, "thread"),
            ):
                with pytest.raises(RuntimeError, match="Event loop is closed"):
                    attempt()
            await asyncio.sleep(0)
            reached.append("the far side of an await")

    async def main() -> list[str]:
        loop = sim_loop()
        spawn("killed", tidy(loop))
        spawn("alive", tidy(loop))
        await asyncio.sleep(1)
        loop.kill("killed")
        await asyncio.sleep(1)
        return [*port, *refused]

    result = run_simulation(main, Decider())
    gc.collect()
    assert result.value == []
    assert result.unhandled == ()
    assert port == reached == []
    assert refused == ["write by killed", "write by alive"]


def test_a_coroutine_that_resists_its_end_ends_nevertheless() -> None:
    attempts = list[int]()

    async def stubborn() -> None:
        await asyncio.sleep(0)
        sim_loop().pause("w0")
        for attempt in range(10):
            try:
                await asyncio.sleep(0)
            except GeneratorExit:
                attempts.append(attempt)

    async def main() -> None:
        spawn("w0", stubborn())
        await asyncio.sleep(0.5)

    simulate(main)
    assert attempts == list(range(10))


def test_tasks_that_never_began_end_without_a_warning() -> None:
    async def main() -> None:
        sim_loop().spawn("w0", asyncio.sleep(1))
        sim_loop().kill("w0")
        asyncio.create_task(asyncio.sleep(1))  # noqa: RUF006 - it is to be left behind

    simulate(main)
    gc.collect()


def test_an_async_generator_of_a_killed_node_is_not_closed_either() -> None:
    async def main() -> list[str]:
        log = list[str]()

        async def numbers() -> AsyncIterator[int]:
            try:
                for number in range(100):
                    await asyncio.sleep(1)
                    yield number
            finally:
                log.append("finally")

        async def count() -> None:
            async for number in numbers():
                log.append(str(number))

        spawn("w0", count())
        await asyncio.sleep(2.5)
        sim_loop().kill("w0")
        await asyncio.sleep(2)
        gc.collect()
        return list(log)

    result = run_simulation(main, Decider())
    assert result.value == ["0", "1"]
    assert result.unhandled == ()


def test_an_async_generator_of_a_living_node_is_closed_as_usual() -> None:
    async def main() -> list[str]:
        log = list[str]()

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                log.append(node.get())

        async def first() -> None:
            async for _ in numbers():
                break

        await spawn("w0", first())
        await asyncio.sleep(1)
        return log

    assert simulate(main) == ["w0"]


def test_the_garbage_collector_rests_during_a_run_only() -> None:
    async def main() -> bool:
        return gc.isenabled()

    async def fail() -> None:
        raise LookupError

    assert gc.isenabled()
    assert not simulate(main)
    with pytest.raises(LookupError):
        simulate(fail)
    assert gc.isenabled()


def test_finished_tasks_are_forgotten() -> None:
    async def main() -> int:
        for _ in range(5_000):
            await asyncio.create_task(asyncio.sleep(0))
        return sum(len(one.tasks) for one in sim_loop()._nodes.values())

    assert simulate(main) < 200
