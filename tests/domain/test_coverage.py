"""The work that no living process does."""

from __future__ import annotations

from dataclasses import replace

from task_manager_core.domain.coverage import Uncovered, find_uncovered
from task_manager_core.domain.duties import ALL_DUTIES, Duties, Role
from task_manager_core.domain.identity import FunctionKey, NodeId, TaskKey
from task_manager_core.domain.observation import Presence, Snapshot
from task_manager_core.domain.schedule import Schedule
from tests.application.cluster import NOON, a_task

PLAIN, HEAVY = a_task("plain"), replace(a_task("heavy"), queue="heavy")
DYNAMIC = a_task("dynamic", dynamic=True, function="work")
WEB = Duties(roles=frozenset({Role.SCHEDULE}))


def node(duties: Duties = ALL_DUTIES, *, tasks: tuple[str, ...] = (), functions: tuple[str, ...] = ()) -> Presence:
    return Presence(
        node=NodeId("node"),
        service="s",
        started_at=NOON,
        tasks=frozenset(TaskKey("group", name) for name in tasks),
        functions=frozenset(FunctionKey("group", name) for name in functions),
        duties=duties,
    )


def snapshot(*nodes: Presence, unreadable: tuple[str, ...] = ()) -> Snapshot:
    return Snapshot(now=NOON, term=None, tasks=(), nodes=nodes, unreadable=frozenset(map(NodeId, unreadable)))


def test_a_process_that_knows_everything_covers_everything() -> None:
    known = node(tasks=("plain", "heavy"), functions=("work",))
    assert find_uncovered([PLAIN, HEAVY, DYNAMIC], snapshot(known)) == Uncovered()


def test_a_queue_that_no_process_serves() -> None:
    serving = node(Duties(queues=frozenset({"default"})), tasks=("plain", "heavy"))
    assert find_uncovered([PLAIN, HEAVY], snapshot(serving)) == Uncovered(queues={"heavy": (HEAVY.key,)})


def test_a_function_that_no_process_knows_which_serves_the_queue() -> None:
    web, worker = node(WEB, tasks=("plain",)), node(tasks=("heavy",))
    assert find_uncovered([PLAIN, HEAVY, DYNAMIC], snapshot(web, worker)).unknown == (DYNAMIC.key, PLAIN.key)


def test_web_processes_alone_cover_no_queue() -> None:
    found = find_uncovered([PLAIN, HEAVY], snapshot(node(WEB, tasks=("plain", "heavy"))))
    assert found.queues == {"default": (PLAIN.key,), "heavy": (HEAVY.key,)}


def test_no_process_schedules() -> None:
    worker = node(Duties(roles=frozenset({Role.EXECUTE})), tasks=("plain",))
    assert find_uncovered([PLAIN], snapshot(worker)) == Uncovered(schedule=True)
    on_request = replace(PLAIN, schedule=Schedule(rules=()))
    assert find_uncovered([on_request], snapshot(worker)) == Uncovered()


def test_an_unreadable_presence_may_cover_everything() -> None:
    assert find_uncovered([PLAIN, HEAVY], snapshot(unreadable=("newer",))) == Uncovered()
