"""The core's errors as users of a group or a manager meet them: every one is a RuntimeError too.

Code that caught RuntimeError from the earlier package goes on working; new code may catch the core's types. Texts,
fields and values are the core's.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from task_manager_core.domain.errors import (
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
    RefusedError,
    TaskIsStatic,
    TaskManagerError,
    TaskNotFound,
    UnknownFunction,
    VersionConflict,
)


class InvalidDefinitionError(DefinitionError, RuntimeError):
    """A name that no task, group or function may have."""


class InvalidCronError(InvalidCron, RuntimeError):
    """A cron expression that is malformed, ambiguous, random or never fires."""


class InvalidTimezoneError(InvalidTimezone, RuntimeError):
    """An unknown time zone."""


class InvalidPolicyError(InvalidPolicy, RuntimeError):
    """A number or a combination of numbers that no policy allows."""


class InvalidArgumentsError(InvalidArguments, RuntimeError):
    """kwargs that are not JSON, or that the function does not accept."""


class DuplicateTaskError(DuplicateTask, RuntimeError):
    """A task name taken twice in one group."""


class DuplicateGroupError(DuplicateGroup, RuntimeError):
    """A group name taken twice in one manager."""


class DuplicateFunctionError(DuplicateFunction, RuntimeError):
    """A function name taken twice in one group."""


class UnknownFunctionError(UnknownFunction, RuntimeError):
    """A function that its group does not register."""


class TaskNotFoundError(TaskNotFound, RuntimeError):
    """No task of this name."""


class GroupNotFoundError(GroupNotFound, RuntimeError):
    """No group of this name."""


class TaskIsStaticError(TaskIsStatic, RuntimeError):
    """A task that code declares can only be removed from the code."""


class VersionConflictError(VersionConflict, RuntimeError):
    """Somebody else changed the definition first."""


class StaticTaskChangeError(TaskIsStatic, RuntimeError):
    """A task that code declares can only be changed in the code."""

    def __init__(self, group: str, name: str) -> None:
        self.group = group
        self.name = name
        RefusedError.__init__(self, f"task {name!r} of group {group!r} is static and cannot be changed")


class NotRunningError(BackendUnavailable, RuntimeError):
    """The manager has not been started, or has been stopped."""

    def __init__(self) -> None:
        super().__init__("the task manager is not running")


class StartTimedOutError(BackendUnavailable, RuntimeError):
    """The store did not become usable within `start_timeout`."""


_RUNTIME_TWINS: dict[type[TaskManagerError], type[TaskManagerError]] = {
    DefinitionError: InvalidDefinitionError,
    InvalidCron: InvalidCronError,
    InvalidTimezone: InvalidTimezoneError,
    InvalidPolicy: InvalidPolicyError,
    InvalidArguments: InvalidArgumentsError,
    DuplicateTask: DuplicateTaskError,
    DuplicateGroup: DuplicateGroupError,
    DuplicateFunction: DuplicateFunctionError,
    UnknownFunction: UnknownFunctionError,
    TaskNotFound: TaskNotFoundError,
    GroupNotFound: GroupNotFoundError,
    TaskIsStatic: TaskIsStaticError,
    VersionConflict: VersionConflictError,
}


@contextmanager
def runtime_errors() -> Generator[None]:
    """Raise the core's errors of this block as their twins that are RuntimeErrors."""
    try:
        yield
    except TaskManagerError as error:
        twin_class = _RUNTIME_TWINS.get(type(error))
        if twin_class is None:
            raise
        # The message and the attributes are built already; no constructor has to guess them from each other.
        twin = twin_class.__new__(twin_class, *error.args)
        twin.__dict__.update(error.__dict__)
        raise twin.with_traceback(error.__traceback__) from None
