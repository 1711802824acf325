"""A driver from the side of the harness: a process that answers requests."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.driver import Settings

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
SLACK = 10.0
"""Longer than the timeout of the driver itself, which reports the reason."""

_LONGEST_ANSWER = 2**26


class DriverError(Exception):
    """A driver reported an error, did not answer, or ended."""


class DriverProcess:
    """Use `driving`; every process is killed at its end."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.declared = 0.0
        """Seconds that the driver took to declare its tasks."""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, what: str, patience: float = PATIENCE, **more: Any) -> dict[str, Any]:
        """Raises: DriverError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if what in {"run", "start"}:
            more["patience"] = patience
        try:
            self._process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), patience + SLACK)
        except TimeoutError:
            raise DriverError(f"{what}: no answer within {patience + SLACK:g} s{self._tail()}") from None
        except (OSError, ValueError) as error:
            raise DriverError(f"{what}: {error}{self._tail()}") from None
        if not line:
            raise DriverError(f"{what}: the driver ended{self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DriverError(f"{what}: {answer['error']}")
        return answer

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"; it wrote: {lines[-1].strip()[:200]}" if lines else ""

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def leave(self) -> None:
        """Stop the driver in order, if it still answers."""
        with suppress(DriverError):
            await self.ask("stop")
        await self.kill()


@asynccontextmanager
async def driving(
    command: Sequence[str], environment: dict[str, str], settings: Settings
) -> AsyncGenerator[DriverProcess]:
    with tempfile.TemporaryDirectory(prefix="bench-driver-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                json.dumps(dataclasses.asdict(settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, **environment},
                limit=_LONGEST_ANSWER,
                start_new_session=True,
            )
        driver = DriverProcess(process, log)
        try:
            yield driver
        finally:
            with contextlib.suppress(Exception):
                await driver.kill()
