"""When a failed run is tried again: a pure function of policy, run and number of failures."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.backoff import Backoff, GiveUp, RetryAfter
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.policy import LONGEST_TIME, RetryPolicy

RUN = RunId("r1")
MICROSECOND = timedelta(microseconds=1)

times = st.integers(1, LONGEST_TIME // timedelta(milliseconds=1)).map(lambda value: timedelta(milliseconds=value))


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    initial, maximum = sorted((draw(times), draw(times)))
    return RetryPolicy(
        initial=initial,
        maximum=maximum,
        multiplier=draw(st.floats(1, 1000)),
        jitter=draw(st.floats(0, 1)),
        max_retries=draw(st.none() | st.integers(0, 10)),
    )


def test_the_delay_doubles_from_a_second_to_a_minute() -> None:
    backoff = Backoff(RetryPolicy())
    delays = [backoff.delay(failures, RUN).total_seconds() for failures in range(1, 9)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


@given(policies(), st.integers(1, 10**18), st.text(max_size=5))
def test_a_delay_keeps_within_its_bounds(policy: RetryPolicy, failures: int, run: str) -> None:
    """Invariant: ideal × (1 - jitter) ≤ delay ≤ ideal and initial ≤ ideal ≤ maximum, for any number of failures."""
    backoff = Backoff(policy)
    ideal = backoff.ideal(failures)
    assert policy.initial <= ideal <= policy.maximum
    assert ideal * (1 - policy.jitter) - MICROSECOND <= backoff.delay(failures, RunId(run)) <= ideal


@given(policies(), st.integers(1, 200))
def test_without_jitter_a_delay_never_shrinks(policy: RetryPolicy, failures: int) -> None:
    """Invariant: ideal(k) ≤ ideal(k + 1)."""
    assert Backoff(policy).ideal(failures) <= Backoff(policy).ideal(failures + 1)


@given(policies(), st.integers(1, 100))
def test_every_process_computes_the_same_delay(policy: RetryPolicy, failures: int) -> None:
    """Invariant: equal arguments, equal delay."""
    assert Backoff(policy).after(failures, RunId("x")) == Backoff(policy).after(failures, RunId("x"))


def test_jitter_differs_between_runs_and_between_failures() -> None:
    backoff = Backoff(RetryPolicy(jitter=1.0, multiplier=1.0))
    assert len({backoff.delay(failures, RunId(run)) for failures in (1, 2, 3) for run in "abc"}) == 9


@pytest.mark.parametrize("multiplier", [1.0, 1.0000001, 2.0, 1000.0])
def test_a_million_failures_do_not_overflow(multiplier: float) -> None:
    backoff = Backoff(RetryPolicy(multiplier=multiplier, maximum=LONGEST_TIME))
    assert timedelta(seconds=1) <= backoff.delay(10**15, RUN) <= LONGEST_TIME


@given(st.integers(0, 20), st.integers(1, 40))
def test_a_run_fails_after_its_last_retry(max_retries: int, failures: int) -> None:
    """Invariant: with `max_retries` = n, n failures are retried and the next failure ends the run."""
    answer = Backoff(RetryPolicy(max_retries=max_retries)).after(failures, RUN)
    assert isinstance(answer, RetryAfter) == (failures <= max_retries)
    assert isinstance(answer, GiveUp) == (failures > max_retries)


def test_the_retries_of_the_default_policy_end_within_the_hour_also_if_each_attempt_takes_15_seconds() -> None:
    policy = RetryPolicy()
    assert policy.max_retries is not None
    delays = sum((Backoff(policy).ideal(failures) for failures in range(1, policy.max_retries + 1)), timedelta(0))
    assert timedelta(minutes=45) <= delays
    assert delays + (policy.max_retries + 1) * timedelta(seconds=15) <= timedelta(hours=1)


def test_without_a_maximum_a_run_is_always_retried() -> None:
    assert Backoff(RetryPolicy(max_retries=None)).after(10**9, RUN) == RetryAfter(timedelta(seconds=60))
