"""The laws of the simulated loop: time, order, nodes, leaks, the end, and that a seed tells everything."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import find, settings
from hypothesis import strategies as st

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.failures import SimBudget, SimDeadlock, SimLeak
from task_manager_core.testing.cluster.loop import SimLoop
from task_manager_core.testing.cluster.process import ENVIRONMENT, node
from task_manager_core.testing.cluster.run import run_simulation, sim_loop, spawn

ROOT = Path(__file__).parent.parent.parent

_T = TypeVar("_T")


def simulate(main: Callable[[], Coroutine[object, None, _T]], seed: int | None = None) -> _T:
    return run_simulation(main, Decider(seed)).value


def now() -> float:
    return sim_loop().time()


# --- time ------------------------------------------------------------------------------------------------------------


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


# --- asyncio as it is ------------------------------------------------------------------------------------------------


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


# --- threads ---------------------------------------------------------------------------------------------------------


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


# --- pause -----------------------------------------------------------------------------------------------------------


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


# --- kill ------------------------------------------------------------------------------------------------------------


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


# --- the end ---------------------------------------------------------------------------------------------------------


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


# --- what ends a run -------------------------------------------------------------------------------------------------


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


# --- leaks -----------------------------------------------------------------------------------------------------------


async def open_a_connection() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def start_a_server() -> None:
    await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)


async def run_a_program() -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-V")


async def run_a_shell() -> None:
    await asyncio.create_subprocess_shell("true")


async def resolve_a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def watch_a_file() -> None:
    asyncio.get_running_loop().add_reader(0, lambda: None)


async def catch_a_signal() -> None:
    asyncio.get_running_loop().add_signal_handler(15, lambda: None)


async def call_from_another_thread() -> None:
    loop, errors = sim_loop(), list[BaseException]()

    def call() -> None:
        try:
            loop.call_soon_threadsafe(lambda: None)
        except SimLeak as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert errors


LEAKS = [
    open_a_connection,
    start_a_server,
    run_a_program,
    run_a_shell,
    resolve_a_name,
    watch_a_file,
    catch_a_signal,
    call_from_another_thread,
]


@pytest.mark.parametrize("leak", LEAKS)
def test_reaching_for_the_real_world_fails_the_run_even_if_the_error_is_swallowed(
    leak: Callable[[], Awaitable[None]],
) -> None:
    async def main() -> str:
        try:
            await leak()
        except SimLeak:
            return "swallowed"
        return "unnoticed"

    with pytest.raises(SimLeak):
        simulate(main)


# --- chance ----------------------------------------------------------------------------------------------------------


async def race() -> int:
    """Two nodes look whether a place is free, and take it one await later: the classic mistake."""
    owners = list[str]()

    async def grab() -> None:
        await asyncio.sleep(1)
        free = not owners
        await asyncio.sleep(0)
        if free:
            owners.append(node.get())

    spawn("w0", grab())
    spawn("w1", grab())
    await asyncio.sleep(2)
    return len(owners)


def test_a_calm_decider_never_shows_a_race_and_seeds_do() -> None:
    assert simulate(race) == 1
    raced = sum(simulate(race, seed) == 2 for seed in range(100))
    assert 20 <= raced <= 80


def test_one_deviation_is_enough_to_show_the_race() -> None:
    def owners(deviations: dict[int, int]) -> int:
        return run_simulation(race, Decider(deviations=deviations)).value

    assert owners({}) == 1
    guilty = [decision for decision in range(10) if owners({decision: 1}) == 2]
    assert guilty
    assert owners({guilty[0]: 1}) == owners({guilty[0]: 3}) == 2


def test_hypothesis_shrinks_a_schedule_to_the_one_preemption_that_matters() -> None:
    schedule = find(
        st.dictionaries(st.integers(0, 30), st.integers(1, 9), max_size=9),
        lambda deviations: run_simulation(race, Decider(deviations=deviations)).value == 2,
        settings=settings(database=None, derandomize=True, max_examples=500),
    )
    assert list(schedule.values()) == [1]


async def fail(after: float) -> None:
    await asyncio.sleep(after)
    raise LookupError


async def work(log: list[str], number: int) -> None:
    """A bit of everything whose order could depend on addresses, hash seeds or real time."""
    log.append(f"{node.get()} {number} {await asyncio.to_thread(lambda: number)}")
    await asyncio.sleep(sim_loop().decider.between(0, 3) / 10)
    done, pending = await asyncio.wait(
        [asyncio.create_task(asyncio.sleep(delay / 10, delay)) for delay in (3, 1, 2, 1)],
        return_when=asyncio.FIRST_COMPLETED,
    )
    log.extend(f"{node.get()} {task.result()}" for task in done)
    for task in pending:
        task.cancel()
    try:
        async with asyncio.TaskGroup() as group:
            for delay in (0.3, 0.2, 0.2):
                group.create_task(fail(delay))
    except* LookupError as errors:
        log.append(f"{node.get()} {len(errors.exceptions)}")


async def serve(log: list[str]) -> None:
    while True:
        try:
            async with asyncio.timeout(0.7):
                await asyncio.gather(*(work(log, number) for number in range(3)))
        except TimeoutError:
            log.append(f"{node.get()} late")


async def busy_cluster() -> list[str]:
    loop, log = sim_loop(), list[str]()
    for number in range(4):
        spawn(f"w{number}", serve(log))
    for life in range(2, 6):
        await asyncio.sleep(1)
        victim = f"w{loop.decider.choose(4)}"
        loop.pause(victim)
        await asyncio.sleep(1)
        loop.resume(victim)
        loop.kill(victim)
        spawn(f"{victim}#{life}", serve(log))
    return log


def busy_trace(seed: int) -> str:
    result = run_simulation(busy_cluster, Decider(seed))
    assert not result.unhandled
    return f"{result.trace_hash} {result.steps} {hashlib.sha256(repr(result.value).encode()).hexdigest()}"


def test_a_seed_is_one_history_in_every_process_and_under_every_hash_seed() -> None:
    def trace_in_another_process(hash_seed: str) -> str:
        program = "from tests.cluster.test_loop import busy_trace; print(busy_trace(7))"
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    assert {busy_trace(7), *map(trace_in_another_process, ("0", "1", "random"))} == {busy_trace(7)}


def test_other_seeds_are_other_histories() -> None:
    assert len({run_simulation(race, Decider(seed)).trace_hash for seed in range(50)}) > 5
    assert len({busy_trace(seed) for seed in range(50)}) > 40


def test_the_last_lines_of_the_trace_are_kept() -> None:
    async def main() -> None:
        spawn("w0", asyncio.sleep(1))
        await asyncio.sleep(2)
        sim_loop().kill("w0")

    result = run_simulation(main, Decider(), keep_lines=4)
    assert len(result.last_lines) == 4
    assert "2.0|w0|<kill>" in result.last_lines
    assert run_simulation(main, Decider(), keep_lines=0).last_lines == ()
    assert run_simulation(main, Decider(), keep_lines=0).trace_hash == result.trace_hash


# --- the decider -----------------------------------------------------------------------------------------------------


def test_a_decider_without_a_seed_is_calm() -> None:
    calm = Decider()
    assert [calm.choose(7) for _ in range(20)] == [0] * 20
    assert calm.between(3, 9) == 3
    assert calm.pick("abc") == "a"
    assert not calm.happens(2)
    assert calm.decisions == 23


def test_a_question_with_one_option_is_no_decision() -> None:
    decider = Decider(deviations={0: 1})
    assert decider.choose(1) == 0
    assert decider.happens(1)
    assert not decider.happens(0)
    assert decider.decisions == 0
    assert decider.choose(2) == 1


def test_a_deviation_is_taken_modulo_the_number_of_options() -> None:
    assert [Decider(deviations={0: 5}).choose(options) for options in (2, 3, 4, 6)] == [1, 2, 1, 5]


def test_a_seed_gives_all_options_a_chance_and_always_the_same_answers() -> None:
    first, again = Decider(9), Decider(9)
    answers = [first.between(-1, 3) for _ in range(200)]
    assert answers == [again.between(-1, 3) for _ in range(200)]
    assert set(answers) == {-1, 0, 1, 2, 3}


def test_the_repr_of_a_decider_decides_the_same() -> None:
    for decider in (Decider(), Decider(7), Decider(deviations={3: 1})):
        again: Decider = eval(repr(decider))
        assert [again.choose(5) for _ in range(9)] == [decider.choose(5) for _ in range(9)]


def test_a_decider_follows_a_seed_or_deviations() -> None:
    with pytest.raises(ValueError, match="not both"):
        Decider(1, deviations={})
