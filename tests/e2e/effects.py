"""The effects of the tasks, recorded by the tasks themselves.

A task appends one line of JSON for each event, with one write. The tests judge by these lines, not by the records of
the store. CLOCK_MONOTONIC is the same for every process of a machine, so events of several processes can be ordered.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fastapi_task_manager import RunContext

STARTED = "started"
FINISHED = "finished"
RAISED = "raised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One event of one attempt. `slot` is an instant in UTC, None for a triggered run."""

    task: str
    run_id: str
    slot: datetime | None
    attempt: int
    token: int
    pid: int
    event: str
    monotonic: float
    wall: float


class EffectLog:
    """The file of the events. Any number of processes may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, context: RunContext, event: str) -> None:
        effect = Effect(
            task=str(context.task),
            run_id=context.run_id,
            slot=context.slot,
            attempt=context.attempt,
            token=context.fencing_token,
            pid=os.getpid(),
            event=event,
            monotonic=time.monotonic(),
            wall=time.time(),
        )
        line = json.dumps(asdict(effect), default=datetime.isoformat) + "\n"
        # One write of one line with O_APPEND: lines of several processes never mix.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    @contextmanager
    def recording(self, context: RunContext) -> Iterator[None]:
        """Record the start of the block and its end."""
        self.append(context, STARTED)
        try:
            yield
        except BaseException:
            self.append(context, RAISED)
            raise
        self.append(context, FINISHED)

    def read(self, task: str | None = None, event: str | None = None) -> list[Effect]:
        """The events so far in the order of writing; those of one task, or of one kind, if given."""
        if not self._path.exists():
            return []
        lines = self._path.read_text().split("\n")[:-1]
        found = [_effect(json.loads(line)) for line in lines]
        return [one for one in found if task in (None, one.task) and event in (None, one.event)]

    def started(self, task: str | None = None) -> list[Effect]:
        return self.read(task, STARTED)

    def finished(self, task: str | None = None) -> list[Effect]:
        return self.read(task, FINISHED)


def _effect(members: dict[str, object]) -> Effect:
    slot = members.pop("slot")
    instant = None if slot is None else datetime.fromisoformat(str(slot)).astimezone(UTC)
    return Effect(slot=instant, **members)  # type: ignore[arg-type]  # the fields are those that `append` wrote
