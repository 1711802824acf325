"""What asyncio promises holds in the simulated loop, for tasks and for threads."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.loop import SimLoop
from task_manager_core.testing.cluster.process import node
from task_manager_core.testing.cluster.run import run_simulation, sim_loop, spawn
from tests.cluster.harness import now, simulate


def test_a_task_group_aborts_its_tasks_in_order() -> None:
    async def main() -> list[int]:
        cancelled = list[int]()

        async def victim(number: int) -> None:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        async def bomb() -> None:
            await asyncio.sleep(0.5)
            raise ValueError("boom")

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(40):
                    tasks.create_task(victim(number))
                tasks.create_task(bomb())

        with pytest.raises(ExceptionGroup):
            await group()
        return cancelled

    assert simulate(main) == list(range(40))
    assert simulate(main, seed=3) == list(range(40))


def test_the_sets_of_asyncio_wait_iterate_in_the_same_order_in_every_run() -> None:
    async def main() -> list[int]:
        loop = sim_loop()
        futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(20)]
        for number, future in enumerate(futures):
            loop.call_later(0.1, future.set_result, number)
        tasks = [asyncio.ensure_future(asyncio.sleep(0.1, number)) for number in range(20, 40)]
        done, _ = await asyncio.wait([*tasks, *futures])
        return [future.result() for future in done]

    first = simulate(main)
    keep = [object() for _ in range(1000)]  # other addresses for what comes
    assert simulate(main) == first
    assert sorted(first) == list(range(40))
    del keep


def test_queues_events_and_locks_work_between_tasks_of_a_node() -> None:
    async def main() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        lock = asyncio.Lock()

        async def produce() -> None:
            for number in range(6):
                async with lock:
                    await queue.put(number)
                await asyncio.sleep(0.1)

        producer = asyncio.create_task(produce())
        taken = [await queue.get() for _ in range(6)]
        await producer
        return taken

    assert simulate(main) == list(range(6))


def test_the_loop_works_in_debug_mode_under_asyncio_runner(caplog: pytest.LogCaptureFixture) -> None:
    tidied = list[str]()

    async def left_over(tag: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidied.append(tag)

    async def main() -> float:
        spawn("living", left_over("living"))
        spawn("killed", left_over("killed"))
        await asyncio.to_thread(lambda: None)
        await asyncio.sleep(5)
        sim_loop().kill("killed")
        return now()

    with caplog.at_level(logging.WARNING, "asyncio"):
        with asyncio.Runner(debug=True, loop_factory=lambda: SimLoop(Decider(1))) as runner:
            assert runner.run(main()) == 5
        assert tidied == ["living", "killed"], "the runner cancels the living, the closing loop ends the dead"
    assert not caplog.records


def test_debug_mode_sees_a_coroutine_function_used_as_a_callback() -> None:
    async def main() -> None:
        loop = sim_loop()
        loop.set_debug(True)
        with pytest.raises(TypeError):
            loop.call_soon(main)

    simulate(main)


def test_eager_tasks_and_foreign_task_factories_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError):
            sim_loop().create_task(asyncio.sleep(0), eager_start=True)
        with pytest.raises(RuntimeError):
            sim_loop().set_task_factory(lambda loop, coro: None)
        sim_loop().set_task_factory(None)

    simulate(main)


def test_names_of_tasks_are_the_same_in_every_run() -> None:
    async def main() -> list[str]:
        named = asyncio.create_task(asyncio.sleep(0), name="mine")
        return [asyncio.create_task(asyncio.sleep(0)).get_name(), named.get_name()]

    assert simulate(main) == simulate(main) == ["env/3", "mine"]


def test_thread_work_is_one_step_of_the_node_that_asked() -> None:
    async def main() -> tuple[int, str, float, int]:
        where = list[tuple[str, int]]()

        def work() -> int:
            where.append((node.get(), threading.get_ident()))
            return 42

        async def ask() -> int:
            return await asyncio.to_thread(work)

        answer = await spawn("w0", ask())
        [(name, thread)] = where
        return answer, name, now(), thread

    assert simulate(main) == (42, "w0", 0.0, threading.get_ident())


def test_an_error_of_thread_work_reaches_the_one_who_asked() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    assert run_simulation(main, Decider()).unhandled == ()


def test_cancelled_thread_work_is_not_begun() -> None:
    async def main() -> list[str]:
        done = list[str]()
        sim_loop().run_in_executor(None, done.append, "work").cancel()
        await asyncio.sleep(1)
        return done

    assert simulate(main) == []
