"""The options of a request for a run, as code writes them."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi_task_manager.option_readers import duration, text
from task_manager_core.application.requested_runs import RunOptions
from task_manager_core.domain.duties import check_queue
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.recurrence import calendar_instant

LONGEST_IDEMPOTENCY_KEY = 255


def read_options(
    idempotency_key: object,
    priority: object,
    delay: float | timedelta | None,
    at: datetime | None,
    expires: float | timedelta | datetime | None,
    queue: object = None,
) -> tuple[str | None, RunOptions]:
    """The caller's id of the request, and the options of its run. Errors: DefinitionError."""
    start = _start(delay, at)
    return _key(idempotency_key), RunOptions(
        priority=_priority(priority),
        start=start,
        expires=_expires(expires),
        queue=None if queue is None else check_queue("queue", queue),
    )


def _start(delay: float | timedelta | None, at: datetime | None) -> timedelta | datetime:
    if at is None:
        length = timedelta(0) if delay is None else duration("delay", delay)
        if length < timedelta(0):
            raise InvalidPolicy("delay", delay, "must be at least 0 seconds")
        return length
    if delay is not None:
        raise InvalidPolicy("delay", delay, "give delay or at, not both")
    return calendar_instant("at", at)


def _key(given: object) -> str | None:
    if given is None:
        return None
    field = "idempotency_key"
    key = text(field, given)
    if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY:
        raise InvalidPolicy(field, key, f"must have 1 to {LONGEST_IDEMPOTENCY_KEY} characters")
    return key


def _priority(given: object) -> Priority | None:
    if given is None:
        return None
    for priority in Priority:
        if given in (priority, priority.value):
            return priority
    raise InvalidPolicy("priority", given, f"must be one of {', '.join(one.value for one in Priority)}")


def _expires(given: float | timedelta | datetime | None) -> timedelta | datetime | None:
    if given is None:
        return None
    field = "expires"
    if isinstance(given, datetime):
        return calendar_instant(field, given)
    length = duration(field, given)
    if length <= timedelta(0):
        raise InvalidPolicy(field, given, "must be more than 0 seconds")
    return length
