"""A task definition: which function runs, when, and under which policies. It is data that a store can keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

from task_manager_core.domain.duties import DEFAULT_QUEUE, check_queue
from task_manager_core.domain.errors import InvalidArguments
from task_manager_core.domain.identity import RunId, TaskKey, check_identity, check_name
from task_manager_core.domain.policy import (
    MOST_INSTANCES,
    CatchUp,
    Overlap,
    Priority,
    RetryPolicy,
    require,
    require_kind,
    require_storable,
    require_text,
)
from task_manager_core.domain.run import Run
from task_manager_core.domain.schedule import Schedule

LONGEST_DESCRIPTION = 10_000
MOST_TAGS = 100
LONGEST_KWARGS = 100_000
DEEPEST_KWARGS = 64
"""JSON libraries refuse deep nesting, each from another depth on. All of them must be able to read a stored text."""

_LAST_INSTANT = datetime.max.replace(tzinfo=UTC)

_FLAT = frozenset({str, int, float, bool, type(None)})

_TOO_DEEP = f"must not be nested deeper than {DEEPEST_KWARGS} levels"


def canonical_kwargs(kwargs: Mapping[str, object] | None, field: str = "kwargs") -> str:
    """The canonical JSON text of these keyword arguments: text keys, JSON values, no NaN. Errors: InvalidArguments."""
    if kwargs is None or kwargs == {}:
        return "{}"
    try:
        text = json.dumps(dict(kwargs), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except RecursionError:
        raise InvalidArguments(field, kwargs, _TOO_DEEP) from None
    except (TypeError, ValueError) as error:
        raise InvalidArguments(field, kwargs, f"must be JSON: {error}") from None
    if len(text) > LONGEST_KWARGS:
        raise InvalidArguments(field, kwargs, f"must not exceed {LONGEST_KWARGS} characters of JSON")
    trouble = _trouble(dict(kwargs))
    if trouble is not None:
        raise InvalidArguments(field, kwargs, trouble)
    return text


def _trouble(value: dict[str, object]) -> str | None:
    """What is wrong with the structure of a JSON value; None if nothing is.

    The check goes level by level, so that a hundred thousand characters of brackets cost only milliseconds.
    """
    level: list[object] = [value]
    for _ in range(DEEPEST_KWARGS):
        inside: list[object] = []
        for one in level:
            if _is_object(one):
                # json.dumps turns other keys into text and raises nothing.
                if not all(isinstance(key, str) for key in one):
                    return "must be JSON: the keys of an object are text"
                inside.extend(one.values())
            elif _is_list(one):
                inside.extend(one)
        level = [one for one in inside if type(one) not in _FLAT]
        if not level:
            return None
    return _TOO_DEEP if any(_is_object(one) or _is_list(one) for one in level) else None


def _is_object(value: object) -> TypeGuard[dict[object, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """The definition of a task.

    `kwargs` is the canonical JSON text of an object. A `dynamic` task stays in the store until it is removed. A static
    task is declared by code, and is retired when no living process declares it. `timeout` limits one attempt.
    `max_instances` limits the live runs of a task whose `overlap` is ALLOW. Only processes that serve `queue` execute
    the runs of the task.

    After `start_deadline` a slot that was not dispatched is skipped, and the run of a slot that no worker claimed
    expires. `expires` is about every run, of a slot or of a request, and skips no slot: a run that has waited for
    longer, from the instant at which it fell due or was requested, expires.
    """

    key: TaskKey
    schedule: Schedule
    function: str
    kwargs: str = "{}"
    description: str | None = None
    tags: tuple[str, ...] = ()
    priority: Priority = Priority.LOW
    overlap: Overlap = Overlap.ALLOW
    catch_up: CatchUp = CatchUp()
    retry: RetryPolicy = RetryPolicy()
    timeout: timedelta | None = None
    start_deadline: timedelta | None = None
    expires: timedelta | None = None
    max_instances: int | None = None
    run_on_start: bool = False
    dynamic: bool = False
    queue: str = DEFAULT_QUEUE

    def __post_init__(self) -> None:
        check_identity("function_name", self.function)
        if self.queue is not DEFAULT_QUEUE:
            check_queue("queue", self.queue)
        require(len(self.tags) <= MOST_TAGS, "tags", len(self.tags), f"must be at most {MOST_TAGS}")
        for tag in self.tags:
            check_identity("tags", tag)
        if self.description is not None:
            require(
                len(self.description) <= LONGEST_DESCRIPTION,
                "description",
                self.description,
                f"must not exceed {LONGEST_DESCRIPTION} characters",
            )
            require_text("description", self.description)
        for field, length in (
            ("timeout", self.timeout),
            ("start_deadline", self.start_deadline),
            ("expires", self.expires),
        ):
            if length is not None:
                require_storable(field, length)
        if self.max_instances is not None:
            self._check_instances(self.max_instances)

    def _check_instances(self, most: int) -> None:
        require_kind("max_instances", most, int)
        require(1 <= most <= MOST_INSTANCES, "max_instances", most, f"must be 1 to {MOST_INSTANCES}")
        require(
            self.overlap is Overlap.ALLOW,
            "max_instances",
            most,
            f"limits runs that may overlap, and contradicts overlap={self.overlap.value}, which allows one live run",
        )

    @property
    def live_limit(self) -> int | None:
        """How many runs of the task may live at the same time; None: any number."""
        return self.max_instances if self.overlap is Overlap.ALLOW else 1

    @property
    def may_expire(self) -> bool:
        """Do runs of the task expire that wait for too long?"""
        return self.start_deadline is not None or self.expires is not None

    def check_names(self) -> None:
        """Refuse names with invisible characters. Only new definitions are checked: a stored one keeps its names."""
        check_name("group", self.key.group)
        check_name("name", self.key.name)
        check_name("function_name", self.function)
        for tag in self.tags:
            check_name("tags", tag)

    def run_of_slot(self, slot: datetime, version: int, opens_at: datetime | None = None) -> Run:
        """The run of this slot.

        `opens_at` is the first instant at which the slot can be dispatched: the slot with its jitter, or later if the
        slot waits for the slot before it.
        """
        opens_at = self.schedule.due_at(self.key, slot) if opens_at is None else opens_at
        return self._run(RunId.of_slot(self.key, slot), slot, self.kwargs, version, self._start_by(opens_at))

    def run_of_request(self, request: str, version: int, kwargs: str | None = None) -> Run:
        """The run of this request, with other arguments if they are given. Its last instant depends on the request."""
        return self._run(RunId.of_request(self.key, request), None, self.kwargs if kwargs is None else kwargs, version)

    def _start_by(self, opens_at: datetime) -> datetime | None:
        """The last instant at which the run of a slot may start. One outside the calendar sets no limit."""
        lengths = [length for length in (self.start_deadline, self.expires) if length is not None]
        shortest = min(lengths, default=None)
        return None if shortest is None or shortest > _LAST_INSTANT - opens_at else opens_at + shortest

    def _run(
        self, run: RunId, slot: datetime | None, kwargs: str, version: int, start_by: datetime | None = None
    ) -> Run:
        return Run(
            id=run,
            task=self.key,
            slot=slot,
            function=self.function,
            kwargs=kwargs,
            priority=self.priority,
            overlap=self.overlap,
            retry=self.retry,
            timeout=self.timeout,
            version=version,
            dynamic=self.dynamic,
            start_by=start_by,
            max_instances=self.max_instances,
            queue=self.queue,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionedDefinition:
    """A definition in the catalogue, with its version. Versions strictly increase over all tasks of a store."""

    definition: TaskDefinition
    version: int
