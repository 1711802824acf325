"""Functions that tests call in other processes, which import this module."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from task_manager_core.application.context import RunContext


class OddError(Exception):
    """It cannot be read from its pickle: its constructor wants other arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def knows_its_process() -> int:
    return os.getpid()


def adds(one: Any, other: Any) -> Any:
    total = one + other
    return total if isinstance(total, int) else total.total_seconds()


def length_of(text: str) -> int:
    return len(text)


def fails(text: str) -> None:
    raise KeyError(text)


def fails_oddly() -> None:
    raise OddError(code=3)


def exits() -> None:
    sys.exit(3)


def ends_its_process() -> None:
    os._exit(7)


def raises_a_signal() -> None:
    signal.raise_signal(signal.SIGSEGV)


def computes(seconds: float, file: str = "") -> None:
    """Keeps a core busy. Writes its process id first."""
    if file:
        Path(file).write_text(f"{os.getpid()}\n")
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass


def days_after(day: date, days: int) -> date:
    """Its arguments are converted before they travel, and its result is converted before it travels back."""
    return day + timedelta(days=days)


def asks_for_its_run(context: RunContext) -> str:
    return context.run_id


async def waits() -> None:
    """A coroutine function."""


def is_running(pid: int) -> bool:
    """A process that has ended and was not awaited yet counts as ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
