"""The pool that calls synchronous functions, beside other pools in the same run: `make bench-core`.

All have the same number of threads and the same calls, each from a coroutine that waits for its answer. The rounds
alternate, and each pool's calls a second are compared with those of the pool of the standard library in its round.
APScheduler's pool is measured if APScheduler 3 is installed beside the project: it is the same pool inside, with
APScheduler's own work around each call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib.util
import platform
import statistics
import sys
import sysconfig
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from task_manager_core.application.executor import DaemonThreads

THREADS = 32
SECONDS = 0.3
ROUNDS = 5
STANDARD = "ThreadPoolExecutor"

Call = Callable[[], object]
Ask = Callable[[Call], Awaitable[object]]


class ThreadForEachCall(Executor):
    """How it was before: a new thread for each call."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        threading.Thread(target=lambda: future.set_result(fn(*args, **kwargs)), daemon=True).start()
        return future


def nothing() -> None:
    """A call that does nothing."""


def wait() -> None:
    """A call of one millisecond that leaves the processor free."""
    time.sleep(0.001)


def compute() -> None:
    """A call of one millisecond that computes."""
    ends = time.thread_time() + 0.001
    while time.thread_time() < ends:
        pass


CALLS: dict[str, Call] = {"nothing": nothing, "wait 1 ms": wait, "compute 1 ms": compute}


def _in_executor(pool: Executor) -> Ask:
    return lambda call: asyncio.get_running_loop().run_in_executor(pool, call)


def _of_apscheduler() -> Ask:
    """Submit a job as APScheduler's scheduler does. The job's end sets the future, as an event does there."""
    pools: Any = importlib.import_module("apscheduler.executors.pool")
    pool = pools.ThreadPoolExecutor(THREADS)
    pool.start(_Scheduler(), "default")
    at = [datetime(2026, 1, 1, tzinfo=UTC)]

    def ask(call: Call) -> Awaitable[object]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        pool.submit_job(_Job(call, lambda: loop.call_soon_threadsafe(future.set_result, None)), at)
        return future

    return ask


class _Scheduler:
    """What an executor of APScheduler needs of its scheduler."""

    def _create_lock(self) -> threading.RLock:  # pyright: ignore[reportUnusedFunction] - APScheduler calls it
        return threading.RLock()

    def _dispatch_event(self, event: object) -> None:
        pass


class _Job:
    """What an executor of APScheduler needs of a job."""

    args: tuple[object, ...] = ()
    misfire_grace_time = None
    max_instances = THREADS * 100
    _jobstore_alias = "default"

    def __init__(self, call: Call, done: Callable[[], object]) -> None:
        self.id = str(id(self))
        self.kwargs: dict[str, object] = {}
        self.func = lambda: (call(), done())


async def _rate(ask: Ask, call: Call) -> tuple[float, float]:
    """Calls a second, with one caller for each thread; and calls in a second of the processor, which other programs of
    the machine disturb less."""
    made, began, used = 0, time.perf_counter(), time.process_time()
    ends = began + SECONDS

    async def caller() -> None:
        nonlocal made
        while time.perf_counter() < ends:
            await ask(call)
            made += 1

    await asyncio.gather(*(caller() for _ in range(THREADS)))
    return made / (time.perf_counter() - began), made / max(time.process_time() - used, 1e-6)


async def _measured() -> None:
    pools: dict[str, Ask] = {
        STANDARD: _in_executor(ThreadPoolExecutor(THREADS)),
        "this project": _in_executor(DaemonThreads()),
        "a thread a call": _in_executor(ThreadForEachCall()),
    }
    if importlib.util.find_spec("apscheduler") is not None:
        pools["APScheduler 3"] = _of_apscheduler()
    for title, call in CALLS.items():
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in pools}
        for _ in range(ROUNDS):
            for name, ask in pools.items():
                rates[name].append(await _rate(ask, call))
        for name, found in rates.items():
            print(f"  {title:14} {name:20}" + "".join(_column(found, rates[STANDARD], of) for of in (0, 1)))


def _column(found: list[tuple[float, float]], standard: list[tuple[float, float]], of: int) -> str:
    ratios = [one[of] / other[of] for one, other in zip(found, standard, strict=True)]
    return f"{statistics.median(one[of] for one in found):14,.0f}  x {statistics.median(ratios):5.2f}"


def main() -> None:
    """Print one line for each pool and call."""
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    print(
        f"CPython {platform.python_version()}{' free-threaded' if free else ''}, {THREADS} threads: "
        f"medians of {ROUNDS}, and the ratio to {STANDARD}"
    )
    print(f"  {'':35}{'calls/s':>14}{'':9}{'calls/s of processor time':>26}")
    asyncio.run(_measured())
    sys.stdout.flush()


if __name__ == "__main__":
    main()
