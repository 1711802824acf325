"""A task as its group lists it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fastapi_task_manager.options import Options
from fastapi_task_manager.schedule_aliases import shown_expression
from task_manager_core.domain.identity import TaskKey

TaskFunction = Callable[..., object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as code or a request describes it. A value left open (None) comes from its group, then from Config.

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
        dynamic: Added at run time; kept in the store.
        version: Version of the stored definition; None if the store has not been read since.
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
        """The schedule as text: the cron expression, or the text of the interval or the instants."""
        if self.options.cron_expression:
            return " | ".join(self.options.cron_expression)
        return shown_expression(self.options.schedule(TaskKey(self.group, self.name), "UTC"))


def joined_tags(*sources: Iterable[str]) -> list[str]:
    """All tags, each once, in order."""
    return list(dict.fromkeys(tag for source in sources for tag in source))
