"""FastAPI Task Manager: cron tasks inside FastAPI applications, distributed over any number of processes.

The modules below this package are internal, except for the paths that docs/reference/index.md lists.
"""

from __future__ import annotations

from fastapi_task_manager import requirements as requirements
from fastapi_task_manager.callbacks import Callbacks
from fastapi_task_manager.config import Config, OperationalConfig
from fastapi_task_manager.options import TaskOptions
from fastapi_task_manager.run_handle import BlockingRunHandle, RunHandle
from fastapi_task_manager.schema.health import HealthResponse
from fastapi_task_manager.task import Task
from fastapi_task_manager.task_group import TaskGroup
from fastapi_task_manager.task_manager import TaskManager
from task_manager_core import (
    BackendCorrupt,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    DefinitionError,
    DuplicateFunction,
    DuplicateGroup,
    DuplicateTask,
    GroupNotFound,
    InvalidArguments,
    InvalidCron,
    InvalidPolicy,
    InvalidTimezone,
    NothingMatches,
    RefusedError,
    RequestReused,
    ResultNotKept,
    RunFailed,
    RunNotFound,
    TaskIsStatic,
    TaskManagerError,
    TaskNotFound,
    UnknownFunction,
    VersionConflict,
    __version__,
)
from task_manager_core.application.context import RunContext
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap
from task_manager_core.domain.recurrence import Fold, Gap
from task_manager_core.domain.run import RunState

__all__ = [
    "BackendCorrupt",
    "BackendError",
    "BackendMisconfigured",
    "BackendUnavailable",
    "BlockingRunHandle",
    "Callbacks",
    "CatchUp",
    "CatchUpMode",
    "Config",
    "DefinitionError",
    "DuplicateFunction",
    "DuplicateGroup",
    "DuplicateTask",
    "Fold",
    "Gap",
    "GroupNotFound",
    "HealthResponse",
    "InvalidArguments",
    "InvalidCron",
    "InvalidPolicy",
    "InvalidTimezone",
    "NothingMatches",
    "OperationalConfig",
    "Overlap",
    "RefusedError",
    "RequestReused",
    "ResultNotKept",
    "RunContext",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunState",
    "Task",
    "TaskGroup",
    "TaskIsStatic",
    "TaskManager",
    "TaskManagerError",
    "TaskNotFound",
    "TaskOptions",
    "UnknownFunction",
    "VersionConflict",
    "__version__",
]
