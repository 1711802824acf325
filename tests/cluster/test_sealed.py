"""A simulation cannot reach the real world."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

from task_manager_core.testing.cluster.failures import SimLeak
from task_manager_core.testing.cluster.run import sim_loop
from tests.cluster.harness import simulate


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
