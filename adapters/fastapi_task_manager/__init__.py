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
    CatalogueChanged,
    ClaimLost,
    ClaimReaped,
    DefinitionError,
    DefinitionKept,
    DuplicateFunction,
    DuplicateGroup,
    DuplicateTask,
    Event,
    FindingMade,
    GapFound,
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
    RunReleased,
    RunSettled,
    RunStarted,
    ScheduleChanged,
    SlotsDecided,
    StoreSetBack,
    TaskIsStatic,
    TaskKey,
    TaskManagerError,
    TaskNotFound,
    TermEnded,
    TermWon,
    TickFailed,
    TickRecovered,
    UnknownFunction,
    ValueSetAside,
    VersionConflict,
    WriteFenced,
    __version__,
)
from task_manager_core.application.context import RunContext
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.recurrence import Fold, Gap
from task_manager_core.domain.run import RunState

__all__ = [
    "BackendCorrupt",
    "BackendError",
    "BackendMisconfigured",
    "BackendUnavailable",
    "BlockingRunHandle",
    "Callbacks",
    "CatalogueChanged",
    "CatchUp",
    "CatchUpMode",
    "ClaimLost",
    "ClaimReaped",
    "Config",
    "DefinitionError",
    "DefinitionKept",
    "DuplicateFunction",
    "DuplicateGroup",
    "DuplicateTask",
    "Event",
    "FindingMade",
    "Fold",
    "Gap",
    "GapFound",
    "GroupNotFound",
    "HealthResponse",
    "InvalidArguments",
    "InvalidCron",
    "InvalidPolicy",
    "InvalidTimezone",
    "NothingMatches",
    "OperationalConfig",
    "Overlap",
    "Progress",
    "RefusedError",
    "RequestReused",
    "ResultNotKept",
    "RunContext",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunReleased",
    "RunSettled",
    "RunStarted",
    "RunState",
    "ScheduleChanged",
    "SlotsDecided",
    "StoreSetBack",
    "Task",
    "TaskGroup",
    "TaskIsStatic",
    "TaskKey",
    "TaskManager",
    "TaskManagerError",
    "TaskNotFound",
    "TaskOptions",
    "TermEnded",
    "TermWon",
    "TickFailed",
    "TickRecovered",
    "UnknownFunction",
    "ValueSetAside",
    "VersionConflict",
    "WriteFenced",
    "__version__",
]
