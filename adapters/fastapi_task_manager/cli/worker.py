"""One worker process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress

from fastapi_task_manager.cli.options import WorkerOptions
from fastapi_task_manager.cli.probes import Probes
from fastapi_task_manager.cli.status import Status, joined, starting
from fastapi_task_manager.cli.target import Target, load_target
from fastapi_task_manager.observers.logs import logger_of

STATUS_SECONDS = 1.0
"""The worker looks at its state this often."""

STOP_SPARE_SECONDS = 15.0
"""The steps of a stop beside the running tasks take at most about so long while the store is away."""

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logger_of("runner")


class WorkerCommand:
    """Runs the managers of a target until a signal. The first signal drains, a second one ends faster: the managers
    receive the signals themselves."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._status = starting()
        self._stop = asyncio.Event()
        self._probes = Probes(options.health_file)

    async def run(self) -> int:
        """The exit code of the process."""
        loop = asyncio.get_running_loop()
        for number in END_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        async with self._probes.serving(lambda: self._status, self._options.health_host, self._options.health_port):
            telling = loop.create_task(self._tell_regularly())
            running = loop.create_task(self._run())
            stopped = loop.create_task(self._stop.wait())
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if self._status.reason == starting().reason:
                running.cancel()  # Nothing has started yet that has to stop in order.
            try:
                with suppress(asyncio.CancelledError):
                    await running
            finally:
                telling.cancel()
        return 0

    async def _run(self) -> None:
        target = await load_target(self._options)
        apply_options(target, self._options)
        async with target.running():
            watching = asyncio.get_running_loop().create_task(self._watch(target))
            try:
                await self._stop.wait()
            finally:
                watching.cancel()
                self._show(self._stopping())

    def _on_signal(self, number: int) -> None:
        if not self._stop.is_set():
            _log.info("%s: the worker drains and ends", signal.Signals(number).name)
            self._show(self._stopping())
            self._stop.set()

    def _stopping(self) -> Status:
        return Status(live=True, ready=False, reason="stopping", stop_seconds=self._status.stop_seconds)

    async def _watch(self, target: Target) -> None:
        """Look at the state of the managers until the worker stops."""
        while not self._stop.is_set():
            status = await status_of(target)
            if self._stop.is_set():
                return
            self._show(status)
            if not any(manager.is_running for manager in target.managers):
                _log.error("the manager has been stopped: the worker ends")
                self._stop.set()
            await asyncio.sleep(STATUS_SECONDS)

    async def _tell_regularly(self) -> None:
        """Also during a start and a stop: it shows that the event loop turns."""
        while True:
            self._show(self._status)
            await asyncio.sleep(STATUS_SECONDS)

    def _show(self, status: Status) -> None:
        self._status = status
        self._probes.show()
        if self._options.report_to is not None:
            try:
                os.write(self._options.report_to, f"{status.text()}\n".encode())
            except BlockingIOError:
                return  # The parent is busy. It gets the next status.
            except OSError:
                if not self._stop.is_set():
                    _log.error("the parent process is gone: the worker ends")
                self._stop.set()


async def status_of(target: Target) -> Status:
    """The state of all managers of a worker. It does not wait for long: a health check has a limit."""
    found: list[Status] = []
    for manager in target.managers:
        health = await manager.health_check()
        found.append(
            Status(
                live=manager.is_alive,
                ready=health.status != "unhealthy",
                reason=health.reason,
                stop_seconds=manager.config.shutdown_timeout + STOP_SPARE_SECONDS,
            )
        )
    return joined(found)


def apply_options(target: Target, options: WorkerOptions) -> None:
    """Let the command line override the configuration. A worker executes runs, whatever its code says for the other
    processes of the application. Errors: ValueError for values that contradict each other."""
    for manager in target.managers:
        config = manager.config
        if options.roles is not None:
            config.roles = list(options.roles)
        elif not config.duties().executes:
            _log.info("the worker has both roles: roles=%s are those of other processes", config.roles)
            config.roles = None
        if options.queues is not None:
            config.queues = list(options.queues)
        if options.concurrency is not None:
            config.concurrent_tasks = options.concurrency


def run_worker(options: WorkerOptions) -> int:
    """Run a worker in this process."""
    return asyncio.run(_main(options))


async def _main(options: WorkerOptions) -> int:
    return await WorkerCommand(options).run()


def configure_logging(level: str) -> None:
    """Write the log to stderr. An application that configures the root logger itself replaces this with `force=True`,
    and one that has configured it already keeps it."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s")
