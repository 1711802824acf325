"""Values for tests, with short defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from task_manager_core.domain.duties import ALL_DUTIES, DEFAULT_QUEUE, Duties
from task_manager_core.domain.identity import FunctionKey, NodeId, TaskKey
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason, SlotDecision
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.run import Claim, Failure, Outcome, Result, Run, Settlement, Succeeded
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.scope import Scope
from task_manager_core.domain.task import TaskDefinition, canonical_kwargs
from task_manager_core.ports import DefinitionWrite

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ODD = timedelta(milliseconds=617)
"""Not a whole second, so that a store that cuts to seconds fails."""

DAY = timedelta(days=1)
NOTHING = timedelta(0)

TTL = MINUTE
"""The length of leases and claims in these tests."""

LEADER = NodeId("leader")
WORKER = NodeId("worker")
_RETRY = RetryPolicy()
_SUCCESS = Succeeded()

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

STARTED = datetime(2026, 1, 1, 12, 0, 0, 123000, tzinfo=UTC)


def key(name: str = "task", group: str = "group") -> TaskKey:
    return TaskKey(group, name)


def task(
    name: str = "task",
    group: str = "group",
    *,
    overlap: Overlap = Overlap.ALLOW,
    priority: Priority = Priority.LOW,
    description: str | None = None,
    kwargs: Mapping[str, object] | None = None,
    retry: RetryPolicy = _RETRY,
    schedule: Schedule | None = None,
    queue: str = DEFAULT_QUEUE,
) -> TaskDefinition:
    return TaskDefinition(
        key=TaskKey(group, name),
        schedule=Schedule.every(MINUTE) if schedule is None else schedule,
        function="function",
        kwargs=canonical_kwargs(kwargs),
        description=description,
        priority=priority,
        overlap=overlap,
        retry=retry,
        queue=queue,
    )


def exclusive(name: str = "task", group: str = "group") -> TaskDefinition:
    """A task whose runs do not overlap."""
    return task(name, group, overlap=Overlap.BUFFER_ONE)


def limited(most: int, name: str = "task", group: str = "group") -> TaskDefinition:
    """A task of which so many runs may live at once."""
    return replace(task(name, group), max_instances=most)


def definition(
    of: TaskDefinition,
    *,
    expected: int = 0,
    slot: datetime | None = None,
    jitter: timedelta = NOTHING,
    replan: bool = True,
    skips: Sequence[Skipped] = (),
) -> DefinitionWrite:
    """A definition to be written. Its next slot is `slot`, and it abandons the slots of `skips`."""
    return DefinitionWrite(
        definition=of,
        expected=expected,
        replan=replan,
        next_slot=None if slot is None else next_slot(slot, jitter),
        skipped=tuple(skips),
    )


def run(of: TaskDefinition, request: str = "request", *, kwargs: str | None = None, version: int = 1) -> Run:
    """The run that a request asks for, with a trace context."""
    return replace(of.run_of_request(request, version, kwargs), trace=TRACE)


def runs(of: TaskDefinition, count: int, prefix: str = "request") -> tuple[Run, ...]:
    return tuple(run(of, f"{prefix} {number}") for number in range(count))


def next_slot(slot: datetime, jitter: timedelta = NOTHING) -> NextSlot:
    return NextSlot(slot=slot, due_at=slot + jitter)


def decision(
    of: TaskDefinition,
    version: int,
    slot: datetime,
    *,
    dispatch: Sequence[Run] = (),
    hold: Run | None = None,
    skips: Sequence[Skipped] = (),
    then: datetime | None = None,
    jitter: timedelta = NOTHING,
) -> SlotDecision:
    """A decision about the due slots of a task. The next slot is `then`."""
    return SlotDecision(
        key=of.key,
        version=version,
        slot=slot,
        dispatch=tuple(dispatch),
        hold=hold,
        skipped=tuple(skips),
        next_slot=None if then is None else next_slot(then, jitter),
    )


def skipped(
    first: datetime, *, last: datetime | None = None, count: int = 1, reason: SkipReason = SkipReason.CATCH_UP
) -> Skipped:
    return Skipped(first=first, last=first if last is None else last, count=count, reason=reason)


def settlement(
    claim: Claim, outcome: Outcome = _SUCCESS, *, failure: Failure | None = None, result: Result | None = None
) -> Settlement:
    return Settlement(
        claim=claim,
        outcome=outcome,
        started_at=STARTED,
        duration=timedelta(microseconds=1_234_567),
        failure=failure,
        result=result,
        trace=TRACE,
    )


def presence(
    node: str,
    *,
    tasks: frozenset[TaskKey] = frozenset(),
    functions: frozenset[str] = frozenset(),
    duties: Duties = ALL_DUTIES,
) -> Presence:
    return Presence(
        node=NodeId(node),
        service="service",
        started_at=STARTED,
        tasks=tasks,
        functions=frozenset(FunctionKey("group", name) for name in functions),
        duties=duties,
    )


def scopes_of_one_queue(keys: Sequence[TaskKey]) -> tuple[Scope, ...]:
    """Scopes with one queue each, and some of these tasks excluded. No law orders the runs of two queues."""
    chosen = (("default", keys[:0]), ("default", keys[:1]), ("default", keys[1:3]), ("other", keys[:1]))
    return tuple(Scope(frozenset({queue}), frozenset(without)) for queue, without in chosen)
