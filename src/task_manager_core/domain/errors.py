"""All errors of the task manager, as one tree.

    TaskManagerError
    ├── DefinitionError        the programmer's mistake: names the field, the value and the reason
    │   ├── InvalidCron
    │   ├── InvalidTimezone
    │   ├── InvalidPolicy
    │   ├── InvalidArguments
    │   ├── DuplicateTask
    │   ├── DuplicateGroup
    │   ├── DuplicateFunction
    │   └── UnknownFunction
    ├── RefusedError           the request cannot be granted
    │   ├── TaskNotFound
    │   ├── GroupNotFound
    │   ├── NothingMatches
    │   ├── TaskIsStatic
    │   ├── RequestReused
    │   ├── ResultNotKept
    │   ├── RunNotFound
    │   └── VersionConflict
    ├── RunFailed              a run whose result was asked for has none
    └── BackendError           the store failed, or the way to it
        ├── BackendUnavailable     no answer: the operation may have taken effect; repeat it
        ├── BackendMisconfigured   the store answers, but cannot be used as it is set up
        └── BackendCorrupt         a stored value cannot be read: damaged, or of a newer version

Losing a race is an answer of a port and no error. The data of an error are attributes, and its class builds the
message. No code may depend on the text of a message.
"""

from __future__ import annotations

from typing import Literal

_LONGEST_ECHO = 120
_TASKS_NAMED = 5


def _echo(value: object) -> str:
    """Show a value in a message, and at most the beginning of a long one.

    Python refuses to show an integer of more than 4300 digits, and a structure that is nested too deep.
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"({type(value).__name__} that cannot be shown)"
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}… ({len(text)} characters)"


class TaskManagerError(RuntimeError):
    """The root of the tree. It is a RuntimeError, because code for the earlier package catches that."""


class DefinitionError(TaskManagerError):
    """A definition breaks a rule. `field` is the name of the argument or option."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        self.field = field
        self.value = value
        self.reason = reason
        super().__init__(f"{field}={_echo(value)}: {reason}")


class InvalidCron(DefinitionError):
    """A cron expression that is malformed, ambiguous, random or never fires."""


class InvalidTimezone(DefinitionError):
    """A time zone that the zone database does not know."""


class InvalidPolicy(DefinitionError):
    """A value, or a combination of values, that no policy allows."""


class InvalidArguments(DefinitionError):
    """Keyword arguments that are not JSON, or that the function does not accept."""


def _advice(name: str) -> str:
    """What to do about a name that the author did not choose."""
    return "; every lambda has this name: pass a name of its own, name=..." if name.startswith("<lambda>") else ""


class DuplicateTask(DefinitionError):
    """A second task of the same name in one group."""

    def __init__(self, group: str, name: str) -> None:
        self.group = group
        super().__init__("name", name, f"a task of this name already exists in group {group!r}{_advice(name)}")


class DuplicateGroup(DefinitionError):
    """A second group of the same name in one manager."""

    def __init__(self, name: str) -> None:
        super().__init__("name", name, "a task group of this name already exists")


class DuplicateFunction(DefinitionError):
    """A second function of the same name in one group."""

    def __init__(self, group: str, name: str) -> None:
        self.group = group
        super().__init__(
            "name", name, f"a function of this name is already registered in group {group!r}{_advice(name)}"
        )


class UnknownFunction(DefinitionError):
    """A dynamic task names a function that its group does not register."""

    def __init__(self, group: str, name: str) -> None:
        self.group = group
        super().__init__("function_name", name, f"this function is not registered in group {group!r}")


class RefusedError(TaskManagerError):
    """A valid request that cannot be granted in the present state."""


class TaskNotFound(RefusedError):
    """The task does not exist."""

    def __init__(self, group: str, name: str) -> None:
        self.group = group
        self.name = name
        super().__init__(f"task {name!r} not found in group {group!r}")


class GroupNotFound(RefusedError):
    """The group does not exist."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"task group {name!r} not found")


class NothingMatches(RefusedError):
    """No task, or no live run, matches all filters of a request."""

    def __init__(self, what: str, filters: dict[str, str | None]) -> None:
        self.what = what
        self.filters = {name: value for name, value in filters.items() if value is not None}
        shown = ", ".join(f"{name}={_echo(value)}" for name, value in self.filters.items())
        super().__init__(f"{what} not found: {f'none matches {shown}' if shown else 'there is none'}")


class TaskIsStatic(RefusedError):
    """The task is declared by code and can only be changed or removed there. `attempt` names what was tried."""

    def __init__(self, group: str, name: str, attempt: Literal["changed", "removed"]) -> None:
        self.group = group
        self.name = name
        super().__init__(f"task {name!r} of group {group!r} is static and cannot be {attempt}")


class RequestReused(RefusedError):
    """An earlier request with this id asked for something else of these tasks. Nothing was done."""

    def __init__(self, request: str, tasks: tuple[str, ...]) -> None:
        self.request = request
        self.tasks = tasks
        shown = ", ".join(self.tasks[:_TASKS_NAMED]) + ("…" if len(self.tasks) > _TASKS_NAMED else "")
        super().__init__(f"request {_echo(request)} was made before with other arguments, for {shown}")


class ResultNotKept(RefusedError):
    """The result of a run was asked for, and the store did not keep it: it is no JSON, or too long. `type_name` is the
    class of the value; `size` is the number of bytes of its JSON, None if there is none."""

    def __init__(self, run: str, type_name: str, size: int | None) -> None:
        self.run = run
        self.type_name = type_name
        self.size = size
        reason = "it is no JSON, or too long" if size is None else f"its JSON has {size} bytes"
        super().__init__(f"run {run!r} succeeded, and its result ({type_name}) was not kept: {reason}")


class RunNotFound(RefusedError):
    """The run does not live, and the history has no line of it (any more)."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"run {run!r} not found: it does not live, and the history of its task does not show it")


class VersionConflict(RefusedError):
    """Another writer changed the definition first."""

    def __init__(self, group: str, name: str, expected: int, found: int) -> None:
        self.group = group
        self.name = name
        self.expected = expected
        self.found = found
        super().__init__(f"task {name!r} of group {group!r} is at version {found}, not {expected}")


class RunFailed(TaskManagerError):
    """The result of a run was asked for, and the run ended without one. `state` is how it ended ("failed", "cancelled"
    or "expired"). `error_type` and `message` are those of the last exception of its function, if there was one."""

    def __init__(self, run: str, state: str, error_type: str | None = None, message: str | None = None) -> None:
        self.run = run
        self.state = state
        self.error_type = error_type
        self.message = message
        super().__init__(
            f"run {run!r} has no result: it {_ENDINGS[state]}" + (f": {error_type}: {message}" if error_type else "")
        )


_ENDINGS = {"failed": "failed", "cancelled": "was cancelled", "expired": "was not started in time"}


class BackendError(TaskManagerError):
    """The store or the way to it failed."""


class BackendUnavailable(BackendError):
    """The store did not answer. The operation may have taken effect; repeating it with the same arguments is safe."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the store is not available: {reason}")


class BackendMisconfigured(BackendError):
    """The store answers, but it cannot be used as it is set up."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the store cannot be used: {reason}")


class BackendCorrupt(BackendError):
    """A stored value that cannot be read."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"cannot read {where}: {reason}")
