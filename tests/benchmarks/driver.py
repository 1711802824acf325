"""The frame of a driver: one process that runs one task system on the requests of the harness.

A driver gets its settings as JSON in its first argument, reads one request a line (JSON) from its standard input and
answers each with one line. It measures by itself, so that a busy event loop or a slow harness distorts nothing:
instants are those of CLOCK_MONOTONIC, which all processes of a machine share, and of the wall clock where slots are
concerned. Every system runs the same bodies, those of `Meter`.

Needs the standard library and, where it is installed, uvloop: the environments of the peers have nothing else in
common.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

POLL = 0.01
Kind = Literal["runs", "idle", "burst", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a driver declares and how it runs.

    `kind` says which tasks it declares: "runs" has what `queue` and `trigger` run; the others have cron tasks: "idle"
    has `tasks` that are never due, "burst" has `tasks` that are all due at the instant `slot`, "second" has one that is
    due every second. With `defaults` a system has its default settings; otherwise it may be tuned for speed. A process
    that `works` executes runs; one that `schedules` does what only one process has to do.
    """

    url: str
    name: str
    kind: Kind
    tasks: int = 0
    concurrency: int = 100
    seconds: float = 0.0
    slot: int = 0
    effects: str = ""
    defaults: bool = False
    schedules: bool = True
    works: bool = True
    cluster: bool = False
    idle_hour: int = 0

    @property
    def idle_cron(self) -> str:
        """Five fields that match once a day, and not during the run."""
        return f"0 {self.idle_hour} * * *"

    @property
    def slot_cron(self) -> tuple[int, str]:
        """The second, and five fields, that match at `slot` and hourly from then on."""
        at = time.gmtime(self.slot)
        return at.tm_sec, f"{at.tm_min} * * * *"

    @property
    def cron(self) -> str:
        """Six fields, the seconds first, or five."""
        second, minutes = self.slot_cron
        return self.idle_cron if self.kind == "idle" else f"{second} {minutes}"


class Meter:
    """The functions of all tasks, and the instants that they recorded."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.seconds
        self.started = 0
        self.ended = 0
        self.first = 0.0
        self.last = 0.0
        self.cpu = 0.0
        self.marks: list[tuple[int, float]] = []
        self._expected = 0
        self._done = asyncio.Event()
        self._effects = os.open(settings.effects, os.O_WRONLY | os.O_APPEND) if settings.effects else None

    async def body(self) -> None:
        """A run that does nothing, or only waits."""
        if not self.started:
            self.first = time.monotonic()
        self.started += 1
        if self._seconds:
            await asyncio.sleep(self._seconds)
        self.ended += 1
        if self.ended == self._expected:
            self.last = time.monotonic()
            self.cpu = time.process_time()
            self._done.set()

    def mark(self, number: int) -> None:
        """A run that records its start by the wall clock."""
        self.marks.append((number, time.time()))

    def effect(self) -> None:
        """A run that leaves a record which survives the process."""
        assert self._effects is not None
        os.write(self._effects, f"{time.time():.6f} {os.getpid()}\n".encode())

    def expect(self, runs: int) -> None:
        self._expected = runs

    async def done(self) -> None:
        await self._done.wait()


class Driver(Protocol):
    """One task system. `start` is the call of its users; it may return before the system is ready."""

    @property
    def packages(self) -> tuple[str, ...]: ...

    async def queue(self, runs: int) -> None: ...
    async def start(self) -> None: ...
    async def ready(self) -> bool: ...
    async def trigger(self, number: int) -> None: ...
    async def left(self) -> int: ...
    async def facts(self) -> dict[str, Any]: ...
    async def stop(self) -> None: ...


def serve(make: Callable[[Settings, Meter], Driver]) -> None:
    """Run a driver until the harness sends `stop` or closes the pipe."""
    settings = Settings(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # The output of a system must not look like an answer.
    logging.basicConfig(level=logging.WARNING)
    factory = None
    with suppress(ImportError):
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(make, settings, answers.write))


async def _serve(
    make: Callable[[Settings, Meter], Driver], settings: Settings, answer: Callable[[str], object]
) -> None:
    reader = asyncio.StreamReader(limit=2**26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    meter = Meter(settings)
    began = time.monotonic()
    desk = _Desk(settings, make(settings, meter), meter, time.monotonic() - began)
    async for line in reader:
        request = json.loads(line)
        what = request.pop("do")
        try:
            reply = await getattr(desk, what)(**request)
        except Exception as error:
            logging.getLogger("driver").exception("%s failed", what)
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        answer(json.dumps(reply or {}) + "\n")
        if what == "stop":
            break
    # Some systems keep threads or tasks that would delay the end of the process. All results are written by now.
    os._exit(0)


class _Desk:
    """The requests of the harness, one method each."""

    def __init__(self, settings: Settings, driver: Driver, meter: Meter, declared: float) -> None:
        self._settings = settings
        self._driver = driver
        self._meter = meter
        self._declared = declared

    async def hello(self) -> dict[str, Any]:
        return {
            "python": platform.python_version(),
            "loop": type(asyncio.get_running_loop()).__module__,
            "packages": {name: _version_of(name) for name in self._driver.packages},
            "declared": self._declared,
        }

    async def queue(self, runs: int) -> dict[str, Any]:
        began = time.monotonic()
        await self._driver.queue(runs)
        return {"seconds": time.monotonic() - began}

    async def run(self, runs: int, patience: float) -> dict[str, Any]:
        """The time from the call of start to the last body. If more bodies ran than there were runs, `started` shows
        it."""
        meter = self._meter
        meter.expect(runs)
        cpu, began = time.process_time(), time.monotonic()
        await self._driver.start()
        await _within(patience, meter.done(), f"only {meter.ended} of {runs} runs ended")
        return {"began": began, "first": meter.first, "last": meter.last, "cpu": meter.cpu - cpu}

    async def start(self, patience: float) -> dict[str, Any]:
        """The time from the call of start until the system is ready to execute, or only to trigger."""
        cpu, began = time.process_time(), time.monotonic()
        await self._driver.start()
        if self._settings.works:
            await _within(patience, self._ready(), "it does not take part")
        return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}

    async def _ready(self) -> None:
        while not await self._driver.ready():  # noqa: ASYNC110 - no system notifies its caller of all this
            await asyncio.sleep(POLL)

    async def trigger(self, count: int, pause: float, first: int) -> dict[str, Any]:
        """Trigger one run after the other. Returns the instant of each request by the wall clock."""
        asked: list[tuple[int, float]] = []
        for number in range(first, first + count):
            asked.append((number, time.time()))
            await self._driver.trigger(number)
            await asyncio.sleep(pause)
        return {"asked": asked}

    async def marks(self) -> dict[str, Any]:
        marks, self._meter.marks = self._meter.marks, []
        return {"marks": marks}

    async def left(self) -> dict[str, Any]:
        return {"left": await self._driver.left(), "started": self._meter.started}

    async def facts(self) -> dict[str, Any]:
        return await self._driver.facts()

    async def usage(self) -> dict[str, Any]:
        cpu, at = time.process_time(), time.monotonic()
        gc.collect()
        return {"at": at, "cpu": cpu, "collecting": time.process_time() - cpu, "rss": resident()}

    async def stop(self) -> None:
        await self._driver.stop()


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


async def _within(patience: float, waited: Awaitable[None], otherwise: str) -> None:
    try:
        await asyncio.wait_for(waited, patience)
    except TimeoutError:
        raise TimeoutError(f"{otherwise} within {patience:g} s") from None


def resident() -> int:
    """Bytes of memory of this process; its maximum, if the operating system does not report the current value."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
