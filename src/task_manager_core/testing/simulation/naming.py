"""Finds a task by the name that a user gives."""

from __future__ import annotations

from collections.abc import Iterable

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey

TaskName = str | TaskKey
"""The name of a task, or "group/name" if two groups have a task of that name, or its key."""


def key_of_name(keys: Iterable[TaskKey], name: TaskName, field: str) -> TaskKey:
    """The key of the task with this name. Errors: DefinitionError if no task has it, or more than one."""
    known = sorted(keys)
    if isinstance(name, TaskKey):
        found = [key for key in known if key == name]
    else:
        found = [key for key in known if str(key) == name] or [key for key in known if key.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise DefinitionError(field, name, f"there are several: {', '.join(map(str, found))}")
    raise DefinitionError(field, str(name), f"no such task; there are {', '.join(map(str, known)) or 'none'}")
