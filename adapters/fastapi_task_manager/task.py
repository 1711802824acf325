"""A task as its group lists it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi_task_manager.options import Defaults, Options
from task_manager_core.application.registry import Function
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Overlap, Priority
from task_manager_core.domain.task import Task as CoreTask
from task_manager_core.domain.task import canonical_kwargs

TaskFunction = Callable[..., object]


_DIRECT_WORDS = (
    "function_name",
    "kwargs",
    "description",
    "high_priority",
    "tags",
    "retry_backoff",
    "retry_backoff_max",
    "allow_parallel",
)
"""What may be changed about a dynamic task besides its options. The name is not among it: it is the task's identity."""


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
    options: Options = Options()

    @property
    def expression(self) -> str:
        """The schedule in words: the cron expression, or what stands for it."""
        if self.options.cron:
            return " | ".join(self.options.cron)
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
            description=_checked_text("description", self.description),
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

    def changed(self, given: Mapping[str, Any], group_tags: Sequence[str]) -> Task:
        """The same task with some words said anew; None is the default again."""
        words = dict(given)
        direct = {word: words.pop(word) for word in _DIRECT_WORDS if word in words}
        if "cron_expression" in words:
            words["cron"] = words.pop("cron_expression")
        if any(words.get(way) is not None for way in ("cron", "interval", "run_at")):
            words = {"cron": None, "interval": None, "phase": None, "run_at": None, **words}
        if "allow_parallel" in direct:
            words.setdefault("overlap", None)
        if "tags" in direct:
            direct["tags"] = joined_tags(group_tags, direct["tags"])
        direct["kwargs"] = direct.get("kwargs", self.kwargs) or {}
        direct["high_priority"] = bool(direct.get("high_priority", self.high_priority))
        return replace(self, **direct, options=self.options.changed(words))

    @classmethod
    def of(cls, task: CoreTask, function: TaskFunction | None) -> Task:
        """What a stored definition says."""
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
            options=Options.of(task),
        )


def checked_kwargs(function: TaskFunction, kwargs: Mapping[str, object] | None) -> dict[str, object]:
    """A copy of the arguments. Errors: InvalidArguments unless they are JSON and the function accepts them."""
    copied: dict[str, object] = json.loads(canonical_kwargs(kwargs))
    Function.of(function).check(copied)
    return copied


def joined_tags(*sources: Iterable[str] | None) -> list[str]:
    """All tags, each once, in order."""
    return list(dict.fromkeys(tag for source in sources if source for tag in source))


def suffix_of_call(options: Options, kwargs: Mapping[str, object] | None) -> str:
    """What tells two dynamic tasks of one function apart when nobody names them: the same call, the same suffix."""
    said: Sequence[object] = (
        options.cron,
        None if options.interval is None else options.interval.total_seconds(),
        options.phase.total_seconds(),
        [instant.isoformat() for instant in options.run_at],
        canonical_kwargs(kwargs),
    )
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=5).hexdigest()


def _checked_text(field_name: str, text: str | None) -> str | None:
    """Text that UTF-8 can carry."""
    if text is None:
        return None
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - not every caller is type-checked
        raise InvalidPolicy(field_name, text, "must be text")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise InvalidPolicy(field_name, text, "must be valid unicode")
    return text
