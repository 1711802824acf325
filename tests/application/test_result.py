"""What a function returns is kept: as JSON if it is short, else by its type and size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NoReturn

import pytest

from task_manager_core.application.result import LARGEST_RESULT
from task_manager_core.domain.run import Result
from tests.application.cluster import KEY, Cluster, a_task

SECOND = timedelta(seconds=1)


class Strange:
    def __len__(self) -> NoReturn:
        raise KeyboardInterrupt


async def result_of_run(
    cluster: Cluster, call: Callable[[], object], timeout: timedelta | None = None
) -> Result | None:
    process = cluster.process().declares(a_task(timeout=timeout), call)
    await process.node.registrar.tick()
    await process.node.control.trigger([KEY], "once")
    await process.work()
    (line,) = await cluster.backend.history.read(KEY, 10)
    return line.result


KEPT = [
    (None, None),
    ({"a": [1, 2.5, None, True, "ü"]}, Result(type="dict", size=28, json='{"a":[1,2.5,null,true,"ü"]}')),
    ((1, 2), Result(type="tuple", size=5, json="[1,2]")),
    ("", Result(type="str", size=2, json='""')),
    (0, Result(type="int", size=1, json="0")),
    (float("nan"), Result(type="float")),
    (b"1", Result(type="bytes")),
    ("\ud800", Result(type="str")),
    (Strange(), Result(type="tests.application.test_result.Strange")),
    ("x" * (LARGEST_RESULT - 2), Result(type="str", size=LARGEST_RESULT, json='"' + "x" * (LARGEST_RESULT - 2) + '"')),
    ("x" * (LARGEST_RESULT - 1), Result(type="str", size=LARGEST_RESULT + 1)),
    (["x" * LARGEST_RESULT], Result(type="list", size=LARGEST_RESULT + 4)),
    ([0] * (LARGEST_RESULT + 1), Result(type="list")),
]


@pytest.mark.parametrize("number", range(len(KEPT)))
@pytest.mark.parametrize("kind", ["async", "sync", "both"])
async def test_a_result_is_kept_or_noted(cluster: Cluster, number: int, kind: str) -> None:
    value, kept = KEPT[number]

    async def in_loop() -> object:
        return value

    def in_thread() -> object:
        return value

    def returns_awaitable() -> Awaitable[object]:
        return in_loop()

    call = {"async": in_loop, "sync": in_thread, "both": returns_awaitable}[kind]
    assert await result_of_run(cluster, call, SECOND * 10 if number % 2 else None) == kept


async def test_an_attempt_that_fails_has_no_result(cluster: Cluster) -> None:
    async def late() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return "suppressed"
        return "slept"

    assert await result_of_run(cluster, late, timedelta(milliseconds=1)) is None
