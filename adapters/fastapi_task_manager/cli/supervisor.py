"""Keeps several worker processes running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from fastapi_task_manager.cli.options import WorkerOptions
from fastapi_task_manager.cli.probes import Probes
from fastapi_task_manager.cli.reload import next_change
from fastapi_task_manager.cli.status import Status, joined, starting
from fastapi_task_manager.cli.worker import END_SIGNALS, STATUS_SECONDS
from fastapi_task_manager.observers.logs import logger_of

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds before a process that died is started again. The delay doubles with each death in a row."""

STEADY_SECONDS = 60.0
"""A process that was ready for so long begins a new row."""

MOST_FAILED_STARTS = 5
"""So many deaths in a row before a process was ever ready end the command."""

SILENT_SECONDS = 60.0
"""A child that has reported nothing for so long is not live: its event loop stands."""

KILL_SPARE_SECONDS = 5.0

USAGE_ERROR = 2

_log = logger_of("runner")


@dataclass(slots=True, eq=False)
class ChildProcess:
    """One process, and what it has reported last."""

    process: asyncio.subprocess.Process
    began: float
    status: Status = field(default_factory=starting)
    reported: float = 0.0
    ready_since: float | None = None
    replaced: bool = False
    """Was it told to end so that a new one takes its place?"""

    def seen(self, now: float) -> Status:
        """The status, unless it is too old."""
        if now - max(self.reported, self.began) <= SILENT_SECONDS:
            return self.status
        return Status(live=False, ready=False, reason=f"process {self.process.pid} does not answer")


class Supervisor:
    """Laws: as many children run as were asked for, unless the supervisor ends. A child that dies is started again,
    after a delay that grows up to a bound. The supervisor ends when a signal came, when a child cannot work at all, or
    when a child has died again and again before it was ready. No child outlives it: a child that finds its parent gone
    ends, too.
    """

    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "fastapi_task_manager.cli")
    """Starts a child. The arguments of the child follow."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._children: dict[int, ChildProcess | None] = dict.fromkeys(range(options.processes))
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._exit_code = 0
        self._probes = Probes(options.health_file)
        self._loop = asyncio.get_running_loop()

    async def run(self) -> int:
        """The exit code of the command."""
        for number in END_SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)
        options = self._options
        async with self._probes.serving(self._status, options.health_host, options.health_port):
            keepers = [self._loop.create_task(self._keep(number)) for number in self._children]
            others = [self._loop.create_task(self._show())]
            if options.reload:
                others.append(self._loop.create_task(self._reload()))
            try:
                await asyncio.gather(*keepers)
            finally:
                for task in (*keepers, *others):
                    task.cancel()
        return self._exit_code

    # -- children -----------------------------------------------------------------------------------------------------

    async def _keep(self, number: int) -> None:
        """Keep one child running."""
        deaths, was_ever_ready = 0, False
        while not self._stop.is_set():
            self._changed.clear()
            async with self._child() as child:
                self._children[number] = child
                if self._stop.is_set():  # The signal came while the process was being created.
                    child.process.terminate()
                code = await self._ended(child)
            self._children[number] = None
            was_ready = child.ready_since is not None
            was_ever_ready = was_ever_ready or was_ready
            if self._stop.is_set():
                return
            if child.replaced:
                deaths = 0
                continue
            if child.ready_since is not None and self._loop.time() - child.ready_since >= STEADY_SECONDS:
                deaths = 0
            deaths += 1
            if self._options.reload:
                _log.error("worker process %d ended with code %d: waiting for a change", child.process.pid, code)
                await self._wait_for_stop(None)
                continue
            if code == USAGE_ERROR:
                self._give_up("it cannot work as it is set up", code)
            elif not was_ever_ready and deaths >= MOST_FAILED_STARTS:
                self._give_up(f"it died {deaths} times before it was ready, at last with code {code}", 1)
            else:
                delay = min(FIRST_DELAY * 2 ** (deaths - 1), LONGEST_DELAY)
                _log.error(
                    "worker process %d ended with code %d: another one starts in %g s", child.process.pid, code, delay
                )
                await self._wait_for_stop(delay)

    @asynccontextmanager
    async def _child(self) -> AsyncGenerator[ChildProcess]:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                *arguments_of(self._options, writing),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(writing,),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        child = ChildProcess(process, self._loop.time())
        reports = self._loop.create_task(self._read_reports(reading, child))
        try:
            yield child
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            reports.cancel()
            with suppress(asyncio.CancelledError):
                await reports

    async def _read_reports(self, descriptor: int, child: ChildProcess) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(descriptor, "rb")
        transport, _ = await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            while line := await reader.readline():
                with suppress(ValueError):
                    child.status = Status.parse(line)
                child.reported = self._loop.time()
                if child.status.ready and child.ready_since is None:
                    child.ready_since = child.reported
                self._probes.show()
        finally:
            transport.close()

    async def _ended(self, child: ChildProcess) -> int:
        """Wait until the child has ended. After a request to end, it has a limit."""
        waiting = self._loop.create_task(child.process.wait())
        stopping = self._loop.create_task(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                limit = child.status.stop_seconds + KILL_SPARE_SECONDS
                _, late = await asyncio.wait({waiting}, timeout=limit)
                if late:
                    _log.error("worker process %d has not ended within %g s: it is killed", child.process.pid, limit)
                    self._exit_code = 1
                    child.process.kill()
            return await waiting
        finally:
            stopping.cancel()

    async def _wait_for_stop(self, seconds: float | None) -> None:
        """Wait for a signal or a change of the source, or for so many seconds."""
        waits = {self._loop.create_task(event.wait()) for event in (self._stop, self._changed)}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _give_up(self, reason: str, code: int) -> None:
        _log.error("a worker process cannot be started: %s. The command ends.", reason)
        self._exit_code = code
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._tell(signal.SIGTERM)
        self._probes.show()

    def _tell(self, number: int) -> None:
        for child in self._children.values():
            if child is not None:
                with suppress(ProcessLookupError):
                    child.process.send_signal(number)

    # -- signals, probes, changes -------------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        first = not self._stop.is_set()
        _log.info("%s: the worker processes %s", signal.Signals(number).name, "drain and end" if first else "end now")
        if first:
            self._end()
        else:
            self._tell(signal.SIGTERM)

    def _status(self) -> Status:
        now = self._loop.time()
        found = [starting() if child is None else child.seen(now) for child in self._children.values()]
        status = joined(found)
        if self._stop.is_set():
            return Status(live=True, ready=False, reason="stopping", stop_seconds=status.stop_seconds)
        return status

    async def _show(self) -> None:
        while True:
            self._probes.show()
            await asyncio.sleep(STATUS_SECONDS)

    async def _reload(self) -> None:
        while True:
            path = await next_change(Path(self._options.app_dir or "."))
            _log.info("%s has changed: the worker processes start again", path)
            for child in self._children.values():
                if child is not None:
                    child.replaced = True
            self._tell(signal.SIGTERM)
            self._changed.set()


def arguments_of(options: WorkerOptions, report_to: int) -> Sequence[str]:
    """The command line of a child."""
    found = ["worker", options.target, "--log-level", options.log_level, "--report-to", str(report_to)]
    named = {
        "--app-dir": options.app_dir or None,
        "--queues": None if options.queues is None else ",".join(options.queues),
        "--roles": None if options.roles is None else ",".join(options.roles),
        "--concurrency": None if options.concurrency is None else str(options.concurrency),
    }
    for name, value in named.items():
        if value is not None:
            found += [name, value]
    return found


def run_supervisor(options: WorkerOptions) -> int:
    """Run several workers in processes of their own."""
    return asyncio.run(_main(options))


async def _main(options: WorkerOptions) -> int:
    return await Supervisor(options).run()
