"""The simulation judges by the transition tables of the domain, and needs every line of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from task_manager_core.application import claim_scope
from task_manager_core.application.elector import Elector
from task_manager_core.domain import leadership
from task_manager_core.domain.leadership import LeadershipState, LeadershipTransition
from task_manager_core.domain.run import TRANSITIONS, RunState, RunTransition
from task_manager_core.domain.scope import MOST_EXCLUDED
from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.checkers import Violation
from task_manager_core.testing.campaign.faults import Injection, InjectionKind
from task_manager_core.testing.campaign.plan import Plan, TaskPlan
from task_manager_memory import MemoryStore

NOTHING = Injection(kind=InjectionKind.ERROR, at=1.0)


def cancel(run: int, at: float) -> tuple[Injection, ...]:
    """Cancel the n-th live run of the task: the place of the fault in the plan chooses it."""
    return (*[NOTHING] * run, Injection(kind=InjectionKind.CANCEL, at=at))


CALM = Plan(duration=8.0)
FAILING = Plan(tasks=(TaskPlan(failures=2, max_retries=1, backoff=3.0),), duration=8.0)
EXCLUSIVE = TaskPlan(every=2.0, duration=5.0, overlap="buffer_one")
MOVES: dict[tuple[RunState, RunTransition], Plan] = {
    (RunState.HELD, RunTransition.FREED): Plan(tasks=(EXCLUSIVE,), duration=8.0),
    (RunState.HELD, RunTransition.CANCELLED): Plan(tasks=(EXCLUSIVE,), faults=cancel(1, 5.0), duration=8.0),
    (RunState.QUEUED, RunTransition.CLAIMED): CALM,
    (RunState.QUEUED, RunTransition.CANCELLED): Plan(
        machines=1, tasks=(TaskPlan(every=1.0, duration=5.0),), faults=cancel(2, 4.5), duration=8.0
    ),
    (RunState.RUNNING, RunTransition.SUCCEEDED): CALM,
    (RunState.RUNNING, RunTransition.RETRIED): FAILING,
    (RunState.RUNNING, RunTransition.EXHAUSTED): FAILING,
    (RunState.RUNNING, RunTransition.CANCELLED): Plan(
        tasks=(TaskPlan(duration=3.0),), faults=cancel(0, 5.0), duration=8.0
    ),
    (RunState.RUNNING, RunTransition.EXPIRED): Plan(tasks=(replace(EXCLUSIVE, deadline=2.0),), duration=12.0),
    (RunState.RUNNING, RunTransition.RELEASED): Plan(
        machines=1,
        tasks=(TaskPlan(duration=5.0),),
        faults=(Injection(kind=InjectionKind.STOP, at=4.5, length=5.0),),
        duration=12.0,
    ),
    (RunState.RUNNING, RunTransition.POSTPONED): Plan(
        tasks=(TaskPlan(only=0), TaskPlan(only=1), TaskPlan(only=2)), seed=1, duration=12.0
    ),
    (RunState.RUNNING, RunTransition.LOST): Plan(
        machines=1,
        tasks=(TaskPlan(duration=3.0),),
        faults=(Injection(kind=InjectionKind.KILL, at=5.0, length=1.0),),
        duration=12.0,
    ),
    (RunState.WAITING, RunTransition.DUE): FAILING,
    (RunState.WAITING, RunTransition.CANCELLED): Plan(tasks=FAILING.tasks, faults=cancel(0, 6.0), duration=8.0),
}

MEETS_UNKNOWN = {(RunState.RUNNING, RunTransition.POSTPONED)}
"""The moves of a run whose worker meets it although it does not know it. That takes more unknown tasks than a worker
excludes."""
NOTHING_EXCLUDED = 0

TERMS: dict[tuple[LeadershipState, LeadershipTransition], Plan] = {
    (LeadershipState.FOLLOWER, LeadershipTransition.WON): CALM,
    (LeadershipState.LEADER, LeadershipTransition.LOST): Plan(
        faults=(Injection(kind=InjectionKind.WIPE, at=3.0),), duration=8.0
    ),
    (LeadershipState.LEADER, LeadershipTransition.EXPIRED): Plan(
        faults=(Injection(kind=InjectionKind.PAUSE, at=3.0, length=4.0),), duration=8.0
    ),
    (LeadershipState.LEADER, LeadershipTransition.RESIGNED): Plan(
        faults=(Injection(kind=InjectionKind.STOP, at=3.0),), duration=8.0
    ),
}


def named(line: tuple[RunState, RunTransition] | tuple[LeadershipState, LeadershipTransition]) -> str:
    return f"{line[0].value}-{line[1].value}"


def broken_by(plan: Plan) -> str:
    with pytest.raises(Violation) as caught:
        run_plan(plan, MemoryStore)
    return caught.value.invariant


def test_every_line_of_the_tables_has_a_plan_that_needs_it() -> None:
    assert MOVES.keys() == TRANSITIONS.keys()
    assert TERMS.keys() == leadership.TRANSITIONS.keys()


@pytest.mark.parametrize("move", MOVES, ids=named)
def test_a_store_whose_move_is_not_in_the_table_breaks_i8(
    move: tuple[RunState, RunTransition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(TRANSITIONS, move)
    monkeypatch.setattr(claim_scope, "MOST_EXCLUDED", NOTHING_EXCLUDED if move in MEETS_UNKNOWN else MOST_EXCLUDED)
    assert broken_by(MOVES[move]) == "I8"


@pytest.mark.parametrize("move", MOVES, ids=named)
def test_a_store_whose_move_leads_elsewhere_than_the_table_breaks_i8(
    move: tuple[RunState, RunTransition], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = RunState.QUEUED if TRANSITIONS[move] is RunState.WAITING else RunState.WAITING
    monkeypatch.setitem(TRANSITIONS, move, elsewhere)
    monkeypatch.setattr(claim_scope, "MOST_EXCLUDED", NOTHING_EXCLUDED if move in MEETS_UNKNOWN else MOST_EXCLUDED)
    assert broken_by(MOVES[move]) == "I8"


@pytest.mark.parametrize("transition", TERMS, ids=named)
def test_a_node_whose_transition_is_not_in_the_table_breaks_i4(
    transition: tuple[LeadershipState, LeadershipTransition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(leadership.TRANSITIONS, transition)
    assert broken_by(TERMS[transition]) == "I4"


def test_a_node_that_forgets_a_term_without_an_event_breaks_i4(monkeypatch: pytest.MonkeyPatch) -> None:
    def _end(self: Elector, turn: LeadershipTransition) -> None:
        self._trusted_term = None

    monkeypatch.setattr(Elector, "_end", _end)
    assert (
        broken_by(
            Plan(machines=1, faults=TERMS[LeadershipState.LEADER, LeadershipTransition.EXPIRED].faults, duration=8.0)
        )
        == "I4"
    )


@pytest.mark.parametrize("plan", [*MOVES.values(), *TERMS.values()], ids=[*map(named, MOVES), *map(named, TERMS)])
def test_each_plan_breaks_nothing_with_the_unchanged_tables(plan: Plan) -> None:
    run_plan(plan, MemoryStore)
