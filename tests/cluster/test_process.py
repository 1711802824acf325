"""Processes of a simulation: they stand still, continue and die."""

from __future__ import annotations

import asyncio
import gc

import pytest

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.process import ENVIRONMENT, node
from task_manager_core.testing.cluster.run import run_simulation, sim_loop, spawn
from tests.cluster.harness import now, simulate


async def tick(log: list[tuple[float, str]]) -> None:
    while True:
        await asyncio.sleep(1)
        log.append((now(), node.get()))


def test_a_paused_node_stands_still_while_the_others_go_on() -> None:
    async def main() -> list[tuple[float, str]]:
        log = list[tuple[float, str]]()
        spawn("a", tick(log))
        spawn("b", tick(log))
        await asyncio.sleep(1.5)
        sim_loop().pause("a")
        assert sim_loop().is_paused("a")
        await asyncio.sleep(3)
        sim_loop().resume("a")
        await asyncio.sleep(1.25)
        return log

    assert simulate(main) == [
        *((1.0, "a"), (1.0, "b")),
        *((2.0, "b"), (3.0, "b"), (4.0, "b")),
        *((4.5, "a"), (5.0, "b"), (5.5, "a")),
    ]


def test_what_fell_due_during_a_pause_runs_in_order_on_resume() -> None:
    async def main() -> list[tuple[float, str]]:
        loop, log = sim_loop(), list[tuple[float, str]]()

        def note(tag: str) -> None:
            log.append((now(), tag))

        async def sleeper() -> None:
            loop.call_later(3, note, "third")
            loop.call_later(1, note, "first")
            loop.call_later(2, note, "second")
            loop.call_later(9, note, "later")
            await asyncio.Event().wait()

        spawn("w0", sleeper())
        await asyncio.sleep(0.5)
        loop.pause("w0")
        await asyncio.sleep(5)
        assert log == []
        loop.resume("w0")
        await asyncio.sleep(5)
        return log

    assert simulate(main) == [(5.5, "first"), (5.5, "second"), (5.5, "third"), (9.0, "later")]


def test_a_node_may_pause_itself_and_stops_at_its_next_await() -> None:
    async def main() -> list[tuple[float, str]]:
        log = list[tuple[float, str]]()

        async def hiccup() -> None:
            sim_loop().pause("w0")
            log.append((now(), "still in the same step"))
            await asyncio.sleep(0)
            log.append((now(), "after the pause"))

        spawn("w0", hiccup())
        await asyncio.sleep(7)
        sim_loop().resume("w0")
        await asyncio.sleep(1)
        return log

    assert simulate(main) == [(0.0, "still in the same step"), (7.0, "after the pause")]


def test_a_killed_node_runs_nothing_any_more_not_even_finally() -> None:
    async def main() -> list[str]:
        loop, log = sim_loop(), list[str]()

        async def worker() -> None:
            try:
                while True:
                    await asyncio.sleep(1)
                    log.append("tick")
            except BaseException:
                log.append("except")
                raise
            finally:
                log.append("finally")

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worker())
                tasks.create_task(asyncio.to_thread(loop.call_later, 2, log.append, "timer"))

        spawn("w0", group())
        await asyncio.sleep(1.5)
        loop.kill("w0")
        loop.kill("w0")
        loop.pause("w0")
        loop.resume("w0")
        await asyncio.sleep(10)
        assert loop.is_dead("w0")
        assert not loop.is_paused("w0")
        gc.collect()
        return list(log)

    assert simulate(main) == ["tick"]


def test_the_tasks_of_a_dead_node_are_unknown_to_asyncio() -> None:
    async def main() -> set[str]:
        spawn("w0", asyncio.sleep(1000))
        await asyncio.sleep(1)
        sim_loop().kill("w0")
        return {task.get_name() for task in asyncio.all_tasks()}

    result = run_simulation(main, Decider())
    assert result.value == {"env/1"}
    assert result.time == 1.0


def test_a_node_that_kills_itself_ends_at_its_next_await() -> None:
    async def main() -> list[str]:
        log = list[str]()

        async def suicide() -> None:
            sim_loop().kill("w0")
            log.append("same step")
            await asyncio.sleep(0)
            log.append("never")

        spawn("w0", suicide())
        await asyncio.sleep(1)
        return list(log)

    assert simulate(main) == ["same step"]


def test_a_name_dies_with_its_node_and_the_next_life_has_another() -> None:
    async def main() -> str:
        async def who() -> str:
            return node.get()

        spawn("w0", asyncio.sleep(9))
        sim_loop().kill("w0")
        with pytest.raises(ValueError, match="w0#2"):
            spawn("w0", who())
        return await spawn("w0#2", who())

    assert simulate(main) == "w0#2"


def test_a_node_that_never_was_cannot_be_killed_or_paused() -> None:
    async def main() -> None:
        for act in (sim_loop().kill, sim_loop().pause, sim_loop().resume):
            with pytest.raises(ValueError, match="'w1' was ever spawned"):
                act("w1")
        assert not sim_loop().is_dead("w1")
        assert not sim_loop().is_paused("w1")

    simulate(main)


def test_waking_a_dead_node_does_nothing() -> None:
    async def main() -> list[str]:
        log, bell = list[str](), asyncio.Event()

        async def listen() -> None:
            await bell.wait()
            log.append(node.get())

        spawn("w0", listen())
        spawn("w1", listen())
        await asyncio.sleep(1)
        sim_loop().kill("w0")
        bell.set()
        await asyncio.sleep(1)
        return list(log)

    assert simulate(main) == ["w1"]


def test_callbacks_and_tasks_belong_to_the_node_that_made_them() -> None:
    async def main() -> list[str]:
        log = list[str]()

        async def child() -> None:
            log.append(f"task {node.get()} {sim_loop().acting}")

        async def parent() -> None:
            sim_loop().call_soon(lambda: log.append(f"soon {node.get()} {sim_loop().acting}"))
            sim_loop().call_later(1, lambda: log.append(f"timer {node.get()} {sim_loop().acting}"))
            await asyncio.create_task(child())

        spawn("w0", parent())
        await asyncio.sleep(2)
        assert (node.get(), sim_loop().acting) == (ENVIRONMENT, ENVIRONMENT)
        return log

    assert simulate(main) == ["soon w0 w0", "task w0 w0", "timer w0 w0"]
