"""A task as its group lists it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi_task_manager.options import Defaults, Options, flag, name_list, text
from task_manager_core.application.registry import Function
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.task import TaskDefinition as CoreTask
from task_manager_core.domain.task import VersionedDefinition, canonical_kwargs

TaskFunction = Callable[..., object]


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
"""What may be said about a task besides its options. The name is not among it: it is the task's identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What code or a request said about a task. What is left open (None) is decided by its group, then by Config.

    Attributes:
        group: Name of the group.
        name: Name inside the group.
        function_name: Name of the function.
        function: The function; None for a dynamic task whose function this process does not register.
        kwargs: Its keyword arguments, a JSON object.
        description: Free text.
        tags: The group's tags and the task's own.
        high_priority: Claimed before tasks without it.
        retry_backoff: Seconds before the first retry, None for the default.
        retry_backoff_max: Longest delay in seconds, None for the default.
        allow_parallel: May several runs of the task live at once; None for the default.
        dynamic: Added at run time; lives in the store.
        version: Of the stored definition, where the store told it.
        options: Schedule and further policies.
    """

    group: str
    name: str
    function_name: str
    function: TaskFunction | None = field(default=None, compare=False)
    kwargs: dict[str, object] = field(default_factory=dict[str, object])
    description: str | None = None
    tags: list[str] = field(default_factory=list[str])
    high_priority: bool = False
    retry_backoff: float | None = None
    retry_backoff_max: float | None = None
    allow_parallel: bool | None = None
    dynamic: bool = False
    version: int | None = field(default=None, compare=False)
    options: Options = Options()

    @property
    def expression(self) -> str:
        """The schedule in words: the cron expression, or what stands for it."""
        if self.options.cron_expression:
            return " | ".join(self.options.cron_expression)
        return self.options.schedule(TaskKey(self.group, self.name), "UTC").expression

    def definition(self, defaults: Defaults) -> CoreTask:
        """The core's definition. Errors: DefinitionError for whatever cannot be."""
        key = TaskKey(self.group, self.name)
        parallel = defaults.allow_parallel if self.allow_parallel is None else self.allow_parallel
        overlap = Overlap.ALLOW if parallel else Overlap.BUFFER_ONE
        return CoreTask(
            key=key,
            schedule=self.options.schedule(key, defaults.timezone),
            function=self.function_name,
            kwargs=canonical_kwargs(self.kwargs),
            description=self.description,
            tags=tuple(self.tags),
            priority=Priority.HIGH if self.high_priority else Priority.LOW,
            overlap=self.options.overlap or overlap,
            catch_up=self.options.catch_up,
            retry=self.options.retry(defaults.retry, self.retry_backoff, self.retry_backoff_max),
            timeout=self.options.timeout,
            start_deadline=self.options.start_deadline,
            run_on_start=self.options.run_on_start,
            dynamic=self.dynamic,
        )

    def changed(self, **words: object) -> Task:
        """The same task with some words said anew; None is the default again, and tags are the task's own.

        Errors: TypeError for a word that does not exist; DefinitionError for a value.
        """
        said = {word: value for word, value in words.items() if word in _READERS}
        further = {word: value for word, value in words.items() if word not in _READERS}
        if "allow_parallel" in said:
            further.setdefault("overlap", None)
        unsaid = self._unsaid()
        direct: dict[str, Any] = {
            word: getattr(unsaid, word) if value is None else _READERS[word](word, value)
            for word, value in said.items()
        }
        return replace(self, **direct, options=self.options.changed(further))

    def with_backoff_beside(self, stored: RetryPolicy, word: str) -> Task:
        """One number of the backoff was said anew; the stored other one gives way, as an inherited one does."""
        said: dict[str, Any] = {"backoff": None, "backoff_max": None, word.removeprefix("retry_"): getattr(self, word)}
        retry = self.options.retry(stored, **said)
        return replace(
            self, retry_backoff=retry.initial.total_seconds(), retry_backoff_max=retry.maximum.total_seconds()
        )

    def calling(self, function: TaskFunction) -> Task:
        """The same task with its function. Errors: InvalidArguments if that does not accept the arguments."""
        Function.of(function).check(dict(self.kwargs))
        return replace(self, function=function)

    @property
    def suffix(self) -> str:
        """What tells two dynamic tasks of one function apart when nobody names them: the same call, the same suffix.

        The first five are those of a plain call, whose names stand in stores.
        """
        words = self.options.said()
        said: list[object] = [
            words.pop("cron_expression", []),
            words.pop("interval", None),
            words.pop("phase", 0.0),
            words.pop("run_at", []),
            canonical_kwargs(self.kwargs),
        ]
        unsaid = replace(self._unsaid(), kwargs=self.kwargs)
        words.update((word, getattr(self, word)) for word in _READERS if getattr(self, word) != getattr(unsaid, word))
        if words:
            said.append(words)
        return hashlib.blake2b(json.dumps(said, sort_keys=True, default=str).encode(), digest_size=5).hexdigest()

    def _unsaid(self) -> Task:
        """The task of this name and function about which nothing is said."""
        return Task(group=self.group, name=self.name, function_name=self.function_name)

    @classmethod
    def of(cls, stored: VersionedDefinition, function: TaskFunction | None) -> Task:
        """What a stored definition says."""
        task = stored.definition
        return cls(
            group=task.key.group,
            name=task.key.name,
            function_name=task.function,
            function=function,
            kwargs=json.loads(task.kwargs),
            description=task.description,
            tags=list(task.tags),
            high_priority=task.priority is Priority.HIGH,
            retry_backoff=task.retry.initial.total_seconds(),
            retry_backoff_max=task.retry.maximum.total_seconds(),
            allow_parallel=task.overlap is Overlap.ALLOW,
            dynamic=task.dynamic,
            version=stored.version,
            options=Options.of(task),
        )


def joined_tags(*sources: Iterable[str]) -> list[str]:
    """All tags, each once, in order."""
    return list(dict.fromkeys(tag for source in sources for tag in source))
