"""The states of a run, read from the table of transitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.run import (
    STATUS_OF_OUTCOME,
    TERMINAL,
    TRANSITION_OF_OUTCOME,
    TRANSITIONS,
    AttemptStatus,
    Cancelled,
    Claim,
    Exhausted,
    Expired,
    Failure,
    Outcome,
    Retried,
    Run,
    RunState,
    RunTransition,
    Settlement,
    Succeeded,
)

SLOT = datetime(2026, 1, 1, tzinfo=UTC)


def a_run(overlap: Overlap = Overlap.ALLOW) -> Run:
    return Run(
        id=RunId("r"),
        task=TaskKey("g", "n"),
        slot=SLOT,
        function="f",
        kwargs="{}",
        priority=Priority.LOW,
        overlap=overlap,
        retry=RetryPolicy(),
        timeout=None,
        version=1,
        dynamic=False,
    )


def reachable(start: RunState) -> set[RunState]:
    found = {start}
    while True:
        further = {after for (before, _), after in TRANSITIONS.items() if before in found} - found
        if not further:
            return found
        found |= further


def test_an_ended_run_never_moves_again() -> None:
    assert not [turn for state, turn in TRANSITIONS if state in TERMINAL]


@pytest.mark.parametrize("state", [state for state in RunState if state not in TERMINAL])
def test_every_live_run_can_still_end_in_every_way(state: RunState) -> None:
    assert reachable(state) >= TERMINAL


def test_a_new_run_can_reach_every_state_but_held_which_is_a_beginning() -> None:
    assert reachable(RunState.QUEUED) == set(RunState) - {RunState.HELD}
    assert reachable(RunState.HELD) == set(RunState)


def test_every_state_and_every_turn_is_in_the_table() -> None:
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(RunState)
    assert {turn for _, turn in TRANSITIONS} == set(RunTransition)


def test_only_a_running_attempt_succeeds_fails_or_is_retried() -> None:
    outcomes = {
        RunTransition.SUCCEEDED,
        RunTransition.RETRIED,
        RunTransition.EXHAUSTED,
        RunTransition.EXPIRED,
        RunTransition.LOST,
        RunTransition.RELEASED,
        RunTransition.POSTPONED,
    }
    assert {state for state, turn in TRANSITIONS if turn in outcomes} == {RunState.RUNNING}


def test_every_live_run_can_be_cancelled() -> None:
    live = {state for state in RunState if state not in TERMINAL}
    assert {state for state, turn in TRANSITIONS if turn is RunTransition.CANCELLED} == live
    assert {TRANSITIONS[state, RunTransition.CANCELLED] for state in live} == {RunState.CANCELLED}


@pytest.mark.parametrize(
    ("overlap", "exclusive"), [(Overlap.ALLOW, False), (Overlap.BUFFER_ONE, True), (Overlap.SKIP, True)]
)
def test_a_run_is_exclusive_unless_overlap_is_allowed(overlap: Overlap, exclusive: bool) -> None:
    assert a_run(overlap).exclusive is exclusive


@pytest.mark.parametrize(
    ("overlap", "most", "limit"),
    [
        (Overlap.ALLOW, None, None),
        (Overlap.ALLOW, 3, 3),
        (Overlap.ALLOW, 1, 1),
        (Overlap.SKIP, None, 1),
        (Overlap.BUFFER_ONE, 3, 1),
    ],
)
def test_the_limit_of_live_runs_is_one_without_overlap_and_that_of_the_task_with_it(
    overlap: Overlap, most: int | None, limit: int | None
) -> None:
    assert replace(a_run(overlap), max_instances=most).live_limit == limit


def test_every_outcome_has_one_status_and_losing_a_claim_is_no_outcome() -> None:
    assert set(STATUS_OF_OUTCOME) == set(TRANSITION_OF_OUTCOME) == set(get_args(Outcome))
    assert {*STATUS_OF_OUTCOME.values(), AttemptStatus.LOST} == set(AttemptStatus)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Succeeded(), AttemptStatus.SUCCEEDED),
        (Retried(timedelta(seconds=1)), AttemptStatus.RETRIED),
        (Exhausted(), AttemptStatus.FAILED),
        (Cancelled(), AttemptStatus.CANCELLED),
        (Expired(), AttemptStatus.EXPIRED),
    ],
)
def test_a_settlement_is_remembered_as_one_line_with_what_was_measured(outcome: Outcome, status: AttemptStatus) -> None:
    claim = Claim(run=a_run(), attempt=3, failures=2, token=7, worker=NodeId("w"))
    failure = Failure(type="ValueError", message="no", traceback="…")
    settlement = Settlement(
        claim=claim, outcome=outcome, started_at=SLOT, duration=timedelta(seconds=2), failure=failure
    )
    record = settlement.record()
    assert (record.run, record.slot, record.attempt, record.token) == (RunId("r"), SLOT, 3, 7)
    assert (record.status, record.worker, record.failure) == (status, NodeId("w"), failure)
    assert (record.started_at, record.duration) == (SLOT, timedelta(seconds=2))


@pytest.mark.parametrize(
    ("attempt", "start_by", "late", "expired"),
    [
        (1, SLOT, timedelta(milliseconds=1), True),
        (1, SLOT, timedelta(0), False),
        (1, SLOT, -timedelta(days=1), False),
        (1, None, timedelta(days=9), False),
        (2, SLOT, timedelta(days=9), False),
    ],
)
def test_a_claim_has_expired_after_its_instant_unless_the_run_has_started_before(
    attempt: int, start_by: datetime | None, late: timedelta, expired: bool
) -> None:
    run = replace(a_run(), start_by=start_by)
    claim = Claim(run=run, attempt=attempt, failures=0, token=7, worker=NodeId("w"))
    assert claim.expired(SLOT + late) is expired
