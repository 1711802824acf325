"""The state of a worker, as probes see it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a worker at an instant.

    `live`: an orchestrator need not restart the process. `ready`: it does its work. `reason` says why it is not ready.
    `stop_seconds` is the longest time of a stop.
    """

    live: bool
    ready: bool
    reason: str | None = None
    stop_seconds: float = 30.0
    at: float = field(default_factory=time.time)

    def text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | bytes) -> Status:
        """Errors: ValueError."""
        return _STATUS.validate_json(text, strict=True)


_STATUS = TypeAdapter(Status)

STARTING = "starting"


def starting() -> Status:
    return Status(live=True, ready=False, reason=STARTING)


def joined(statuses: list[Status]) -> Status:
    """The state of several processes: all of them must be live and ready."""
    problem = next((one for one in statuses if not one.live), None) or next(
        (one for one in statuses if not one.ready), None
    )
    return Status(
        live=all(one.live for one in statuses),
        ready=bool(statuses) and all(one.ready for one in statuses),
        reason=None if problem is None else problem.reason,
        stop_seconds=max((one.stop_seconds for one in statuses), default=30.0),
    )


def write_file(path: Path, status: Status) -> None:
    """Replace the file in one step: a probe never reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(f"{status.text()}\n")
    new.replace(path)
