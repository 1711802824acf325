"""The log of actions: one line for each request that acts, and for each that the application refuses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from fastapi_task_manager.observers.logs import logger_of
from task_manager_core.domain.identity import TaskKey

TASKS_NAMED = 10
LONGEST_PART = 300

_log = logger_of("api")
_IN_SCOPE = "fastapi_task_manager.action"


@dataclass(slots=True)
class Action:
    """The tasks of a request. An endpoint sets them before it acts, so that the log line of a failure names them,
    too."""

    tasks: list[TaskKey] = field(default_factory=list[TaskKey])

    def concerns(self, keys: Collection[TaskKey]) -> None:
        self.tasks = sorted(keys)

    def __str__(self) -> str:
        named = ", ".join(map(str, self.tasks[:TASKS_NAMED]))
        more = len(self.tasks) - TASKS_NAMED
        return f"{len(self.tasks)} tasks{f': {named}' if named else ''}{f' and {more} more' if more > 0 else ''}"


async def _action(request: Request) -> Action:
    action = request.scope[_IN_SCOPE] = Action()
    return action


Acting = Annotated[Action, Depends(_action)]
"""A route with this parameter changes something, and its requests are logged."""


def acts(dependant: Dependant) -> bool:
    """Does the route change something?"""
    return any(inner.call is _action for inner in dependant.dependencies)


def log_action(request: Request, status: int, reason: str = "") -> None:
    """One line, whose length is bounded whatever the request says."""
    about = _line(str(request.scope.get(_IN_SCOPE, Action())))
    why = f"; {_line(reason)}" if reason else ""
    _log.info("%s by %s: %d, %s%s", _what(request), _who(request), status, about, why)


def log_refused_caller(request: Request, status: int) -> None:
    """A dependency of the application has refused the caller."""
    _log.warning("%s by %s: refused with %d", _what(request), _who(request), status)


def _what(request: Request) -> str:
    path = request.scope.get("raw_path")  # percent-encoded, as it came
    return f"{request.method} {_line(path.decode('latin-1') if isinstance(path, bytes) else request.url.path)}"


def _who(request: Request) -> str:
    """The address of the caller, with the name that a dependency of the application has set."""
    address = "an unknown address" if request.client is None else request.client.host
    name: object = getattr(request.state, "task_manager_caller", None)
    return address if name is None else f"{_line(str(name))} ({address})"


def _line(text: str) -> str:
    """Text from outside as one line of bounded length."""
    shown = text if text.isprintable() else text.encode("unicode_escape").decode()
    return shown if len(shown) <= LONGEST_PART else f"{shown[:LONGEST_PART]}…"
