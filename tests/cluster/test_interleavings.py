"""Chance in a simulation: seeds and deviations decide the order of events, the same in every process."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import find, settings
from hypothesis import strategies as st

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.process import node
from task_manager_core.testing.cluster.run import run_simulation, sim_loop, spawn
from tests.cluster.harness import simulate

ROOT = Path(__file__).parent.parent.parent


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
    for number in range(2, 6):
        await asyncio.sleep(1)
        victim = f"w{loop.decider.choose(4)}"
        loop.pause(victim)
        await asyncio.sleep(1)
        loop.resume(victim)
        loop.kill(victim)
        spawn(f"{victim}#{number}", serve(log))
    return log


def busy_trace(seed: int) -> str:
    result = run_simulation(busy_cluster, Decider(seed))
    assert not result.unhandled
    return f"{result.trace_hash} {result.steps} {hashlib.sha256(repr(result.value).encode()).hexdigest()}"


def test_a_seed_is_one_history_in_every_process_and_under_every_hash_seed() -> None:
    def trace_in_another_process(hash_seed: str) -> str:
        program = "from tests.cluster.test_interleavings import busy_trace; print(busy_trace(7))"
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
