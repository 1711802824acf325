"""How people call a task when there is one of that name."""

from __future__ import annotations

from collections.abc import Iterable

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey

TaskName = str | TaskKey
"""The name of a task, its group and name joined with a slash where two groups have such a task, or its key."""


def the_task(keys: Iterable[TaskKey], name: TaskName, field: str) -> TaskKey:
    """The one key that is meant. Errors: DefinitionError if there is none, or more than one."""
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
