"""Time in a simulation: timers, timeouts and their order."""

from __future__ import annotations

import asyncio

import pytest

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.failures import SimDeadlock
from task_manager_core.testing.cluster.run import run_simulation, sim_loop
from tests.cluster.harness import now, simulate


def test_a_simulated_year_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 86_400)
        return now()

    result = run_simulation(main, Decider())
    assert result.value == result.time == 365 * 86_400
    assert result.steps < 10


def test_timers_fire_in_order_and_equal_ones_in_the_order_they_were_set() -> None:
    async def main() -> list[str]:
        loop, fired = sim_loop(), list[str]()
        loop.call_later(2, fired.append, "c")
        loop.call_later(1, fired.append, "a")
        loop.call_later(1, fired.append, "b")
        loop.call_later(1, fired.append, "never").cancel()
        await asyncio.sleep(3)
        return fired

    assert simulate(main) == ["a", "b", "c"]


def test_a_timer_that_is_due_at_once_comes_after_what_is_queued() -> None:
    async def main() -> list[str]:
        loop, called = sim_loop(), list[str]()
        loop.call_later(-1, called.append, "timer")
        loop.call_soon(called.append, "queued")
        await asyncio.sleep(0.1)
        return called

    assert simulate(main) == ["queued", "timer"]


def test_timeout_and_wait_for_count_virtual_time() -> None:
    async def main() -> list[float]:
        times = list[float]()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(100)
        times.append(now())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        times.append(now())
        async with asyncio.timeout(50):
            await asyncio.sleep(1)
        times.append(now())
        return times

    assert simulate(main) == [2.5, 3.5, 4.5]


def test_cancelled_timers_do_not_pile_up() -> None:
    async def main() -> int:
        loop = sim_loop()
        for _ in range(5_000):
            async with asyncio.timeout(1_000_000):
                await asyncio.sleep(0)
        timers = len(loop._timers)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        return timers

    assert simulate(main) < 1_200


def test_a_timer_at_infinity_is_no_timer() -> None:
    async def main() -> None:
        await asyncio.sleep(float("inf"))

    with pytest.raises(SimDeadlock):
        simulate(main)
