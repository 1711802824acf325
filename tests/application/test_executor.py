"""The threads of synchronous functions: used again, bounded by the calls at one time, and no reason to stay alive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from task_manager_core.application.executor import DaemonThreads
from tests.application.cluster import KEY, Cluster, a_task, nothing
from tests.waiting import wait_until

THREAD = "task-manager run"


@pytest.fixture(name="begun")
def threads_begun(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that begin during the test."""
    begun: list[threading.Thread] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    return begun


async def called(threads: DaemonThreads, call: Callable[[], object]) -> object:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


async def test_calls_one_after_the_other_share_one_thread(begun: list[threading.Thread]) -> None:
    threads = DaemonThreads()
    names = {await called(threads, threading.get_ident) for _ in range(200)}
    assert (len(names), len(begun)) == (1, 1)
    assert (begun[0].daemon, begun[0].name) == (True, THREAD)


async def test_there_are_never_more_threads_than_calls_at_one_time(begun: list[threading.Thread]) -> None:
    threads = DaemonThreads()
    for _ in range(50):
        together = threading.Barrier(4)
        await asyncio.gather(*(called(threads, together.wait) for _ in range(4)))
    assert len(begun) == 4


async def test_a_worker_begins_no_thread_for_each_run(cluster: Cluster, begun: list[threading.Thread]) -> None:
    process = cluster.process().declares(a_task(), nothing)
    await process.node.registrar.tick()
    for number in range(50):
        await process.node.control.trigger([KEY], f"{number}")
        await process.work()
    assert len([thread for thread in begun if thread.name == THREAD]) == 1


async def test_a_thread_that_gets_no_call_for_long_ends(begun: list[threading.Thread]) -> None:
    threads = DaemonThreads(idle_seconds=0.001)
    for _ in range(20):
        await called(threads, lambda: None)
        begun[-1].join(0.001)
    assert await called(threads, lambda: 7) == 7
    wait_until(lambda: not any(thread.is_alive() for thread in begun), "the threads ended")
    assert threads.idle == 0


def test_a_call_that_was_cancelled_before_it_began_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = DaemonThreads()
    start, made, waiting = threading.Thread.start, list[int](), list[threading.Thread]()

    def begins_later(thread: threading.Thread) -> None:
        waiting.append(thread)

    monkeypatch.setattr(threading.Thread, "start", begins_later)
    call = threads.submit(made.append, 1)
    assert call.cancel()
    start(waiting[0])
    wait_until(lambda: threads.idle, "the thread is idle")
    assert (threads.submit(lambda: 7).result(10), made, len(waiting)) == (7, [], 1)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(), GeneratorExit(), KeyboardInterrupt()])
async def test_a_thread_outlives_every_exception_of_a_call(error: BaseException, begun: list[threading.Thread]) -> None:
    threads = DaemonThreads()

    def fails() -> None:
        raise error

    assert threads.submit(fails).exception(10) is error
    assert threads.submit(lambda: 7).result(10) == 7
    assert len(begun) == 1


HANGS = """
import threading
from task_manager_core.application.executor import DaemonThreads

threads = DaemonThreads()
threads.submit(lambda: None).result()
began = threading.Event()
threads.submit(lambda: (began.set(), threading.Event().wait()))
began.wait()
threads.submit(lambda: None).result()
print("ends")
"""


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout, ended.stderr) == ("ends\n", "")
