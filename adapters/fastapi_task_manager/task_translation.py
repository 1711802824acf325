"""Tasks as users write them, translated into the core's definitions and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fastapi_task_manager.option_readers import flag, name_list, text
from fastapi_task_manager.options import Defaults, Options
from fastapi_task_manager.task import Task, TaskFunction
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition, canonical_kwargs


def _as_given(_field: str, value: object) -> object:
    return value


def _kwargs(field: str, value: Any) -> dict[str, object]:
    copied: dict[str, object] = json.loads(canonical_kwargs(value, field))
    return copied


_READERS: dict[str, Callable[[str, Any], object]] = {
    "function_name": text,
    "kwargs": _kwargs,
    "description": text,
    "high_priority": flag,
    "tags": name_list,
    "retry_backoff": _as_given,
    "retry_backoff_max": _as_given,
    "allow_parallel": flag,
}
"""The arguments of a task besides its options. The name is not one of them: it is the task's identity."""


def definition_of(task: Task, defaults: Defaults) -> TaskDefinition:
    """The core's definition of a task. Errors: DefinitionError for values that contradict each other or are refused."""
    key = TaskKey(task.group, task.name)
    # A limit says that runs may overlap, which is more exact than the default of the group or of Config.
    inherited = defaults.allow_parallel or task.options.max_instances is not None
    parallel = inherited if task.allow_parallel is None else task.allow_parallel
    overlap = Overlap.ALLOW if parallel else Overlap.BUFFER_ONE
    return TaskDefinition(
        key=key,
        schedule=task.options.schedule(key, defaults.timezone),
        function=task.function_name,
        kwargs=canonical_kwargs(task.kwargs),
        description=task.description,
        tags=tuple(task.tags),
        priority=Priority.HIGH if task.high_priority else Priority.LOW,
        overlap=task.options.overlap or overlap,
        max_instances=task.options.max_instances,
        catch_up=task.options.catch_up,
        retry=task.options.retry(defaults.retry, task.retry_backoff, task.retry_backoff_max),
        timeout=task.options.timeout,
        start_deadline=task.options.start_deadline,
        expires=task.options.expires,
        queue=task.options.queue,
        run_on_start=task.options.run_on_start,
        dynamic=task.dynamic,
    )


def task_of(stored: VersionedDefinition, function: TaskFunction | None) -> Task:
    """A stored definition as its group lists it."""
    definition = stored.definition
    return Task(
        group=definition.key.group,
        name=definition.key.name,
        function_name=definition.function,
        function=function,
        kwargs=json.loads(definition.kwargs),
        description=definition.description,
        tags=list(definition.tags),
        high_priority=definition.priority is Priority.HIGH,
        retry_backoff=definition.retry.initial.total_seconds(),
        retry_backoff_max=definition.retry.maximum.total_seconds(),
        allow_parallel=definition.overlap is Overlap.ALLOW,
        dynamic=definition.dynamic,
        version=stored.version,
        options=Options.of(definition),
    )


def changed_task(task: Task, words: Mapping[str, Any]) -> Task:
    """The task with some arguments replaced. None stands for the default; tags are the task's own.

    Errors: TypeError for an argument that does not exist; DefinitionError for a value.
    """
    given = {word: value for word, value in words.items() if word in _READERS}
    further = {word: value for word, value in words.items() if word not in _READERS}
    if "allow_parallel" in given:
        further.setdefault("overlap", None)
    empty = _empty(task)
    direct: dict[str, Any] = {
        word: getattr(empty, word) if value is None else _READERS[word](word, value) for word, value in given.items()
    }
    return replace(task, **direct, options=task.options.changed(further))


def with_backoff_beside(task: Task, stored: RetryPolicy, word: str) -> Task:
    """The task after one number of its backoff was replaced. The stored other number gives way where the two contradict
    each other, as an inherited one does."""
    given: dict[str, Any] = {"backoff": None, "backoff_max": None, word.removeprefix("retry_"): getattr(task, word)}
    retry = task.options.retry(stored, **given)
    return replace(task, retry_backoff=retry.initial.total_seconds(), retry_backoff_max=retry.maximum.total_seconds())


def distinguishing_suffix(task: Task) -> str:
    """Distinguishes two dynamic tasks of one function that code does not name. The same call gives the same suffix.

    The first five values are those of a plain call. Names made of them are in stores: their order must not change.
    """
    words = task.options.given()
    values: list[object] = [
        words.pop("cron_expression", []),
        words.pop("interval", None),
        words.pop("phase", 0.0),
        words.pop("run_at", []),
        canonical_kwargs(task.kwargs),
    ]
    empty = replace(_empty(task), kwargs=task.kwargs)
    words.update((word, getattr(task, word)) for word in _READERS if getattr(task, word) != getattr(empty, word))
    if words:
        values.append(words)
    return hashlib.blake2b(json.dumps(values, sort_keys=True, default=str).encode(), digest_size=5).hexdigest()


def _empty(task: Task) -> Task:
    """A task of this name and function that leaves everything else open."""
    return Task(group=task.group, name=task.name, function_name=task.function_name)
