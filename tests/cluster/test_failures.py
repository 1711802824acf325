"""The errors that end a simulation, and those that it collects."""

from __future__ import annotations

import asyncio

import pytest

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.failures import SimBudget, SimDeadlock
from task_manager_core.testing.cluster.run import run_simulation, sim_loop, spawn
from tests.cluster.harness import simulate


def test_a_deadlock_names_the_paused_the_dead_and_the_waiting() -> None:
    async def main() -> None:
        for name in ("w0", "w1", "w2"):
            spawn(name, asyncio.sleep(5))
        await asyncio.sleep(1)
        sim_loop().pause("w0")
        sim_loop().kill("w1")
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlock, match=r"paused: w0; dead: w1; waiting: .*main") as caught:
        simulate(main)
    assert caught.value.time == 5.0
    assert caught.value.paused == ("w0",)
    assert caught.value.dead == ("w1",)
    assert [label.partition(":")[0] for label in caught.value.waiting] == ["env", "w0"]


def test_the_timers_of_the_dead_move_no_time() -> None:
    async def main() -> None:
        spawn("w0", asyncio.sleep(1000))
        await asyncio.sleep(1)
        sim_loop().kill("w0")
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlock) as caught:
        simulate(main)
    assert caught.value.time == 1.0


def test_a_node_that_spins_ends_in_the_budget() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - this is the mistake that the budget is for
            await asyncio.sleep(0)

    with pytest.raises(SimBudget) as caught:
        run_simulation(main, Decider(), max_steps=1000)
    assert (caught.value.steps, caught.value.time) == (1000, 0.0)


def test_an_error_of_main_comes_out_with_the_recipe_for_seeing_it_again() -> None:
    async def main() -> None:
        await asyncio.sleep(3)
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost") as caught:
        simulate(main, seed=5)
    [note] = caught.value.__notes__
    assert "Decider(5)" in note
    assert "t=3.0" in note
    assert "main#1" in note


def test_an_observer_ends_the_run_at_the_step_that_broke_the_law() -> None:
    steps = list[int]()

    async def main() -> None:
        loop, state = sim_loop(), list[int]()

        def observe() -> None:
            if state:
                steps.append(loop.steps)
                raise AssertionError("broken by " + loop.acting)

        loop.on_step = observe
        loop.call_later(2, lambda: None)

        async def culprit() -> None:
            await asyncio.sleep(1)
            state.append(1)
            await asyncio.sleep(0)
            steps.append(-1)

        spawn("w0", culprit())
        await asyncio.sleep(9)

    with pytest.raises(AssertionError, match="broken by w0"):
        simulate(main)
    assert len(steps) == 1


def test_a_failure_ends_the_run_even_if_its_exception_is_swallowed() -> None:
    async def main() -> None:
        sim_loop().fail(LookupError("the cause"))
        sim_loop().fail(LookupError("a symptom"))
        await asyncio.sleep(1)

    with pytest.raises(LookupError, match="the cause"):
        simulate(main)


def test_unhandled_errors_are_collected_with_their_node_and_time() -> None:
    async def main() -> None:
        async def crash() -> None:
            await asyncio.sleep(2)
            raise LookupError("background")

        async def call() -> None:
            sim_loop().call_later(1, lambda: 1 / 0)
            keep.append(asyncio.create_task(crash()))
            await asyncio.sleep(9)

        keep = list[object]()
        spawn("w0", call())
        killed = spawn("w1", crash())
        await asyncio.sleep(5)
        sim_loop().kill("w1")
        assert killed.done()

    unhandled = run_simulation(main, Decider()).unhandled
    assert [(one.node, one.time, type(one.error)) for one in unhandled] == [
        ("w0", 1.0, ZeroDivisionError),
        ("w0", 5.0, LookupError),
    ]


def test_an_exception_handler_of_the_code_under_test_hears_of_errors_too() -> None:
    async def main() -> list[str]:
        heard = list[str]()
        sim_loop().set_exception_handler(lambda loop, context: heard.append(type(context["exception"]).__name__))
        sim_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        return heard

    assert simulate(main) == ["ZeroDivisionError"]
