"""A loop repeats the ticks of a service. It survives failures, and it loses no wake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from task_manager_core.application.loop import FIRST_RETRY, Loop
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import TickFailed, TickRecovered
from task_manager_core.domain.identity import NodeId
from task_manager_core.testing import Recorder
from tests.waiting import wait_until_async

NODE = NodeId("a")


class Ticks:
    """A service that gives the answers of the test, and then rests until it is woken."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.count = 0
        self.on_tick: Callable[[], None] = lambda: None

    async def __call__(self) -> float | None:
        self.count += 1
        self.on_tick()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reach(self, count: int) -> None:
        await wait_until_async(lambda: self.count == count, f"{count} ticks")


def a_loop(ticks: Ticks, patience: float = 5.0) -> tuple[Loop, Recorder]:
    events = Recorder()
    return Loop("service", ticks, node=NODE, observer=events, patience=patience), events


async def failures(events: Recorder, count: int) -> None:
    await wait_until_async(lambda: len(events.of(TickFailed)) == count, f"{count} failures")


async def test_a_loop_ticks_until_it_is_finished() -> None:
    ticks = Ticks(0.0, 0.0, 0.001, -1.0)
    loop, events = a_loop(ticks)
    assert not loop.alive
    loop.start()
    await ticks.reach(5)
    assert loop.alive
    await loop.finish()
    assert (loop.alive, ticks.count, events.events) == (False, 5, [])


async def test_a_loop_without_an_answer_rests_until_it_is_woken() -> None:
    ticks = Ticks()
    loop, _ = a_loop(ticks)
    loop.start()
    for count in (1, 2, 3):
        await ticks.reach(count)
        loop.wake()
    await ticks.reach(4)
    await loop.finish()


@pytest.mark.parametrize("rest", [None, 3600.0, 0.0])
async def test_a_wake_during_a_tick_is_not_lost(rest: float | None) -> None:
    """The tick may have read the store before the wake, so another pass follows without a rest."""
    ticks = Ticks(rest)
    loop, _ = a_loop(ticks)

    def wake_once() -> None:
        if ticks.count == 1:
            loop.wake()

    ticks.on_tick = wake_once
    loop.start()
    await ticks.reach(2)
    await loop.finish()


async def test_the_first_tick_answers_a_wake_that_came_before_it() -> None:
    ticks = Ticks()
    loop, _ = a_loop(ticks)
    loop.wake()
    loop.start()
    await ticks.reach(1)
    await asyncio.sleep(0)
    assert ticks.count == 1
    await loop.finish()


async def test_failures_are_reported_and_retried_with_growing_delays_and_the_recovery_is_reported() -> None:
    error = BackendUnavailable("away")
    ticks = Ticks(error, error, ValueError("odd"))
    loop, events = a_loop(ticks, patience=0.15)
    loop.start()
    for count in (1, 2, 3):
        await failures(events, count)
        loop.wake()
    await wait_until_async(lambda: events.of(TickRecovered), "recovery")
    failed = events.of(TickFailed)
    assert [(one.service, one.repeats, type(one.error)) for one in failed] == [
        ("service", 1, BackendUnavailable),
        ("service", 2, BackendUnavailable),
        ("service", 3, ValueError),
    ]
    assert [one.retry_in for one in failed] == [timedelta(seconds=rest) for rest in (FIRST_RETRY, 0.15, 0.15)]
    assert events.one(TickRecovered).repeats == 3
    await loop.finish()


async def test_a_new_failure_after_a_recovery_begins_with_the_first_delay() -> None:
    error = BackendUnavailable("away")
    ticks = Ticks(error, 0.0, error)
    loop, events = a_loop(ticks)
    loop.start()
    await failures(events, 1)
    loop.wake()
    await failures(events, 2)
    assert [one.repeats for one in events.of(TickFailed)] == [1, 1]
    await loop.finish()


async def test_hundreds_of_failures_neither_overflow_nor_exceed_the_patience() -> None:
    ticks = Ticks(*[BackendUnavailable("away")] * 300)
    loop, events = a_loop(ticks, patience=0.0)
    loop.start()
    await ticks.reach(301)
    await loop.finish()
    assert {one.retry_in for one in events.of(TickFailed)} == {timedelta(0)}


async def test_finish_waits_for_the_current_tick_and_starts_no_other() -> None:
    door, done = asyncio.Event(), asyncio.Event()

    async def tick() -> float:
        await door.wait()
        done.set()
        return 0.0

    loop = Loop("service", tick, node=NODE, observer=Recorder())
    loop.start()
    await asyncio.sleep(0)
    finishing = asyncio.ensure_future(loop.finish(within=10))
    await asyncio.sleep(0)
    assert not finishing.done()
    door.set()
    await finishing
    assert (done.is_set(), loop.alive) == (True, False)


async def test_a_tick_that_hangs_is_cancelled_after_the_given_time() -> None:
    async def tick() -> None:
        await asyncio.Event().wait()

    loop = Loop("service", tick, node=NODE, observer=Recorder())
    loop.start()
    await asyncio.sleep(0)
    await loop.finish(within=0.01)
    assert not loop.alive


async def test_a_loop_that_never_started_is_finished_at_once() -> None:
    loop, _ = a_loop(Ticks())
    await loop.finish()
    assert not loop.alive
