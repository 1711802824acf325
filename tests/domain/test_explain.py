"""The reasons are in their order, and the last one is the decision of the scheduler (`domain.observation`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from task_manager_core.domain.duties import Duties, Role
from task_manager_core.domain.explain import ReasonCode, due_of, explain
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.observation import LiveRun, Presence, Snapshot, TaskView
from task_manager_core.domain.planning import NextSlot, decide_slots
from task_manager_core.domain.policy import Overlap
from task_manager_core.domain.run import RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SLOT = NOW + timedelta(minutes=5)
KEY = TaskKey("group", "task")
NODE = NodeId("node")


def task(overlap: Overlap = Overlap.ALLOW, *, dynamic: bool = False) -> TaskDefinition:
    return TaskDefinition(
        key=KEY, schedule=Schedule.cron("*/5 * * * *"), function="work", overlap=overlap, dynamic=dynamic
    )


def run(state: RunState, *, retrying: bool = False, due_at: datetime | None = None) -> LiveRun:
    return LiveRun(
        run=RunId("r"),
        slot=NOW,
        state=state,
        attempt=2,
        failures=1,
        worker=NODE if state is RunState.RUNNING else None,
        due_at=due_at,
        retrying=retrying,
    )


def seen(
    *live: LiveRun, next_slot: NextSlot | None = None, ended: bool = False, paused: bool = False, retired: bool = False
) -> TaskView:
    chosen = None if ended else next_slot or NextSlot(slot=SLOT, due_at=SLOT)
    return TaskView(key=KEY, version=7, next_slot=chosen, paused=paused, retired=retired, live=live)


def snapshot(
    view: TaskView, *, leader: bool = True, tasks: tuple[TaskKey, ...] = (KEY,), functions: tuple[str, ...] = ("work",)
) -> Snapshot:
    presence = Presence(
        node=NODE,
        service="s",
        started_at=NOW,
        tasks=frozenset(tasks),
        functions=frozenset(FunctionKey("group", name) for name in functions),
    )
    return Snapshot(now=NOW, term=Term(NODE, 1) if leader else None, tasks=(view,), nodes=(presence,), queued=3)


@pytest.mark.parametrize(
    ("overlap", "view", "codes"),
    [
        (Overlap.ALLOW, seen(), [ReasonCode.DISPATCHES]),
        (Overlap.ALLOW, seen(ended=True), [ReasonCode.ENDED]),
        (Overlap.ALLOW, seen(retired=True), [ReasonCode.RETIRED]),
        (Overlap.ALLOW, seen(paused=True), [ReasonCode.PAUSED, ReasonCode.SKIPS]),
        (Overlap.ALLOW, seen(run(RunState.RUNNING)), [ReasonCode.RUNNING, ReasonCode.DISPATCHES]),
        (Overlap.BUFFER_ONE, seen(run(RunState.RUNNING)), [ReasonCode.RUNNING, ReasonCode.HOLDS]),
        (Overlap.SKIP, seen(run(RunState.QUEUED)), [ReasonCode.QUEUED, ReasonCode.SKIPS]),
        (
            Overlap.BUFFER_ONE,
            seen(run(RunState.RUNNING), run(RunState.HELD)),
            [ReasonCode.RUNNING, ReasonCode.HELD, ReasonCode.SKIPS],
        ),
        (
            Overlap.ALLOW,
            seen(run(RunState.WAITING, retrying=True, due_at=SLOT)),
            [ReasonCode.BACKOFF, ReasonCode.SKIPS],
        ),
        (
            Overlap.ALLOW,
            seen(run(RunState.WAITING, retrying=True, due_at=NOW + timedelta(seconds=2))),
            [ReasonCode.BACKOFF, ReasonCode.DISPATCHES],
        ),
        (
            Overlap.ALLOW,
            replace(seen(next_slot=NextSlot(slot=NOW, due_at=NOW)), resumed_at=NOW),
            [ReasonCode.SKIPS],
        ),
        (Overlap.ALLOW, seen(run(RunState.WAITING, due_at=SLOT)), [ReasonCode.RELEASED, ReasonCode.DISPATCHES]),
    ],
)
def test_each_state_has_its_reasons(overlap: Overlap, view: TaskView, codes: list[ReasonCode]) -> None:
    assert [reason.code for reason in explain(task(overlap), view, snapshot(view)).reasons] == codes


def test_without_a_leader_or_a_worker_that_is_said_first() -> None:
    view = seen()
    for unknown in (
        explain(task(dynamic=True), view, snapshot(view, leader=False, functions=("other",))),
        explain(task(), view, snapshot(view, leader=False, tasks=())),
    ):
        assert [reason.code for reason in unknown.reasons] == [
            ReasonCode.NO_LEADER,
            ReasonCode.NO_WORKER,
            ReasonCode.DISPATCHES,
        ]


def test_no_worker_is_missed_while_a_living_node_cannot_be_understood() -> None:
    view = seen()
    newer = replace(snapshot(view, functions=("other",)), unreadable=frozenset({NodeId("newer")}))
    assert [reason.code for reason in explain(task(dynamic=True), view, newer).reasons] == [ReasonCode.DISPATCHES]


@pytest.mark.parametrize("live", [1, 2])
def test_a_slot_beyond_the_limit_says_the_limit(live: int) -> None:
    view = seen(*[replace(run(RunState.RUNNING), run=RunId(str(number))) for number in range(live)])
    last = explain(replace(task(), max_instances=2), view, snapshot(view)).reasons[-1]
    assert last.code is (ReasonCode.DISPATCHES if live == 1 else ReasonCode.SKIPS)
    if live == 2:
        assert last.text.endswith(" will be skipped if 2 runs still live (max_instances): overlap")


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("live", [(), (run(RunState.RUNNING),), (run(RunState.WAITING, retrying=True, due_at=SLOT),)])
def test_the_explanation_is_the_decision(overlap: Overlap, paused: bool, live: tuple[LiveRun, ...]) -> None:
    """The reason about the next slot is always the decision of `decide_slots`."""
    view = seen(*live, paused=paused)
    decision = decide_slots(task(overlap), due_of(view), SLOT)
    last = explain(task(overlap), view, snapshot(view)).reasons[-1].code
    expected = ReasonCode.DISPATCHES if decision.dispatch else ReasonCode.HOLDS if decision.hold else ReasonCode.SKIPS
    assert last is expected


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.HELD])
@pytest.mark.parametrize(
    ("deadline", "attempt", "said"),
    [
        (timedelta(minutes=1), 1, "; it expires unless it is started by 2026-01-01T12:01:00Z"),
        (timedelta(minutes=1), 2, ""),
        (None, 1, ""),
    ],
)
def test_a_run_that_waits_says_until_when_it_may_start(
    state: RunState, deadline: timedelta | None, attempt: int, said: str
) -> None:
    view = seen(replace(run(state), attempt=attempt))
    reason = explain(replace(task(), start_deadline=deadline), view, snapshot(view)).reasons[0]
    assert reason.text.partition(";")[2] == said.removeprefix(";")


def test_a_run_of_a_slot_that_waits_says_the_shorter_of_deadline_and_expiry() -> None:
    view = seen(replace(run(RunState.QUEUED), attempt=1))
    both = replace(task(), start_deadline=timedelta(minutes=2), expires=timedelta(minutes=1))
    reason = explain(both, view, snapshot(view)).reasons[0]
    assert reason.text.endswith("; it expires unless it is started by 2026-01-01T12:01:00Z")


@pytest.mark.parametrize(("attempt", "said"), [(1, True), (2, False)])
def test_a_requested_run_that_waits_says_how_long_it_may_wait(attempt: int, said: bool) -> None:
    view = seen(replace(run(RunState.QUEUED), slot=None, attempt=attempt))
    reason = explain(replace(task(), expires=timedelta(seconds=90)), view, snapshot(view)).reasons[0]
    assert reason.text.endswith("; it expires 90 s after its request, unless the request says otherwise") is said


def test_a_run_that_waits_for_too_long_says_that_it_is_not_going_to_be_executed() -> None:
    view = seen(replace(run(RunState.QUEUED), attempt=1))
    later = replace(snapshot(view), now=NOW + timedelta(minutes=2))
    reason = explain(replace(task(), start_deadline=timedelta(minutes=1)), view, later).reasons[0]
    assert reason.text.endswith(
        "; it has expired: it could be started until 2026-01-01T12:01:00Z, and is not executed any more"
    )


@pytest.mark.parametrize(
    ("duties", "text"),
    [
        (Duties(roles=frozenset({Role.SCHEDULE})), "no living process has the role execute: runs stay queued"),
        (Duties(queues=frozenset({"default"})), "no living process serves the queue 'heavy': runs stay queued"),
    ],
)
def test_a_process_that_does_not_serve_the_queue_is_no_worker(duties: Duties, text: str) -> None:
    view = seen()
    found = snapshot(view)
    nodes = tuple(replace(node, duties=duties) for node in found.nodes)
    heavy = replace(task(), queue="heavy")
    [reason, _] = explain(heavy, view, replace(found, nodes=nodes)).reasons
    assert (reason.code, reason.text) == (ReasonCode.NO_WORKER, text)


def test_one_process_serves_the_queue_and_another_one_knows_the_function() -> None:
    view = seen()
    found = snapshot(view)
    knows = replace(found.nodes[0], duties=Duties(roles=frozenset({Role.SCHEDULE})))
    serves = replace(found.nodes[0], tasks=frozenset[TaskKey]())
    [reason, _] = explain(task(), view, replace(found, nodes=(knows, serves))).reasons
    assert reason.text == "no living process that serves the queue 'default' can call 'work': runs stay queued"


def test_no_process_schedules() -> None:
    view = seen()
    found = snapshot(view, leader=False)
    nodes = tuple(replace(node, duties=Duties(roles=frozenset({Role.EXECUTE}))) for node in found.nodes)
    reason, *_ = explain(task(), view, replace(found, nodes=nodes)).reasons
    assert (reason.code, "no living process has the role schedule" in reason.text) == (ReasonCode.NO_LEADER, True)
