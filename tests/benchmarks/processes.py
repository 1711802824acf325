"""Functions that compute, in processes of their own, beside threads: `make bench-core`.

Each call computes for a tenth of a second of processor time. With one and with two places, in rounds that alternate:
the medians of the calls a second, of their ratio, and of how late the event loop was meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable

from task_manager_core.application.executor import DaemonThreads
from task_manager_core.application.process_call import ProcessTarget, Returned
from task_manager_core.application.processes import ProcessCall, ProcessPool
from task_manager_core.application.result import plain_json

CALL_SECONDS = 0.1
SECONDS = 1.5
ROUNDS = 5
BEAT = 0.005

Ask = Callable[[], Awaitable[object]]


def compute() -> None:
    """A call that keeps one core busy. It counts its own processor time."""
    ends = time.thread_time() + CALL_SECONDS
    while time.thread_time() < ends:
        pass


async def _measured(ask: Ask, places: int) -> tuple[float, float, float]:
    """Calls a second with so many callers; the median and the greatest delay of the event loop in seconds."""
    await asyncio.gather(*(ask() for _ in range(places)))  # The processes have started.
    made, late = 0, list[float]()
    began = time.perf_counter()
    ends = began + SECONDS

    async def caller() -> None:
        nonlocal made
        while time.perf_counter() < ends:
            await ask()
            made += 1

    async def beat() -> None:
        while time.perf_counter() < ends:
            due = time.perf_counter() + BEAT
            await asyncio.sleep(BEAT)
            late.append(time.perf_counter() - due)

    await asyncio.gather(beat(), *(caller() for _ in range(places)))
    late.sort()
    return made / (time.perf_counter() - began), late[len(late) // 2], late[-1]


async def _main() -> None:
    threads = DaemonThreads()
    pool = ProcessPool(plain_json, 2)
    request = ProcessTarget.of(compute).request({})

    def in_thread() -> Awaitable[object]:
        return asyncio.get_running_loop().run_in_executor(threads, compute)

    async def in_process() -> object:
        answer = await asyncio.get_running_loop().run_in_executor(threads, ProcessCall(pool, request).execute, None)
        assert isinstance(answer, Returned)
        return answer

    for name, ask in (("threads", in_thread), ("processes", in_process)):
        found = {places: list[tuple[float, float, float]]() for places in (1, 2)}
        for _ in range(ROUNDS):
            for places, one in found.items():
                one.append(await _measured(ask, places))
        for places, one in found.items():
            rate, late, most = (statistics.median(figures) for figures in zip(*one, strict=True))
            print(
                f"  {places} {name:10}{rate:8.2f} calls/s   event loop late by {late * 1000:6.2f} ms (median), "
                f"{most * 1000:6.2f} ms (most)"
            )
        ratios = [two[0] / single[0] for single, two in zip(found[1], found[2], strict=True)]
        print(f"  {name}: 2 places execute x {statistics.median(ratios):.2f} the calls of 1")
    pool.close()


def main() -> None:
    """Print the figures of threads and of processes, with one place and with two."""
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores: calls of {CALL_SECONDS:g} s of processor time")
    asyncio.run(_main())


if __name__ == "__main__":
    main()
