"""The options of `task-manager worker`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi_task_manager.duty_fields import RoleName


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What the command line says. None: as the configuration of the manager says."""

    target: str
    app_dir: str = ""
    processes: int = 1
    queues: tuple[str, ...] | None = None
    roles: tuple[RoleName, ...] | None = None
    concurrency: int | None = None
    health_file: Path | None = None
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    reload: bool = False
    log_level: str = "info"
    report_to: int | None = None
    """The file descriptor to which a child reports its state to the parent."""

    @property
    def is_supervised(self) -> bool:
        """Does a parent keep the workers of this command running?"""
        return self.report_to is None and (self.processes > 1 or self.reload)
