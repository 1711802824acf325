"""FastAPI Task Manager: cron tasks inside FastAPI applications, distributed over any number of processes."""

from __future__ import annotations

from fastapi_task_manager import requirements as requirements
from fastapi_task_manager.config import Config, OperationalConfig
from fastapi_task_manager.options import TaskOptions
from fastapi_task_manager.schema.health import HealthResponse
from fastapi_task_manager.task import Task
from fastapi_task_manager.task_group import TaskGroup
from fastapi_task_manager.task_manager import TaskManager
from task_manager_core import __version__
from task_manager_core.application.context import RunContext
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap
from task_manager_core.domain.recurrence import Fold, Gap

__all__ = [
    "CatchUp",
    "CatchUpMode",
    "Config",
    "Fold",
    "Gap",
    "HealthResponse",
    "OperationalConfig",
    "Overlap",
    "RunContext",
    "Task",
    "TaskGroup",
    "TaskManager",
    "TaskOptions",
    "__version__",
]
