"""How long a node waits between two passes of a simulation."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.policy import NodePolicy
from task_manager_core.testing.simulation.pacing import PacedNode, Pacing

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Now:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def a_pacing() -> tuple[Pacing, Now]:
    now = Now()
    return Pacing(now, calm=HOUR, settling=90 * SECOND), now


def test_a_wait_is_long_when_nothing_will_happen() -> None:
    pacing, _ = a_pacing()
    assert pacing.stretch(3 * SECOND) == HOUR
    assert pacing.stretch(2 * HOUR) == 2 * HOUR


def test_a_wait_is_the_configured_one_from_a_fault_until_the_cluster_has_settled() -> None:
    pacing, now = a_pacing()
    pacing.expect(100.0, 110.0)
    waits = {}
    for now.seconds in (99.0, 100.0, 150.0, 199.9, 200.0):
        waits[now.seconds] = pacing.stretch(3 * SECOND)
    assert list(waits.values()) == [3 * SECOND] * 4 + [HOUR]


def test_a_fault_that_waits_for_a_run_keeps_waits_short_until_then() -> None:
    pacing, now = a_pacing()
    over = pacing.expect_some_time_after(100.0)
    now.seconds = 100_000.0
    assert pacing.stretch(3 * SECOND) == 3 * SECOND
    over()
    over()
    assert pacing.stretch(3 * SECOND) == 3 * SECOND
    now.seconds += 91
    assert pacing.stretch(3 * SECOND) == HOUR


@given(
    fault=st.integers(1, 20_000),
    start=st.integers(0, 20_000_000),
    configured=st.integers(1, 60_000).map(lambda ms: timedelta(milliseconds=ms)),
)
def test_a_heartbeat_always_comes_before_its_claim_ends_and_no_wait_reaches_beyond_a_fault(
    fault: int, start: int, configured: timedelta
) -> None:
    pacing, now = a_pacing()
    pacing.expect(float(fault))
    now.seconds = begun = min(start / 1000, float(fault))
    while begun < fault:
        wait = pacing.stretch(configured)
        assert configured <= wait
        assert wait == configured or begun + wait.total_seconds() <= fault
        end = begun + wait.total_seconds()
        for now.seconds in (begun, (begun + end) / 2, end - 0.0005, end):
            if now.seconds < fault:
                assert now.seconds - begun < 3 * pacing.stretch(configured).total_seconds() * 0.9
        begun = end


def test_a_paced_policy_is_the_configured_one_in_a_window_and_keeps_what_is_no_wait() -> None:
    pacing, now = a_pacing()
    pacing.expect(0.0)
    policy = NodePolicy()
    paced = PacedNode(policy, pacing)
    names = ("poll_interval", "refresh_interval", "reconciliation_interval", "notifier_wait", "presence_ttl")
    assert [getattr(paced, name) for name in names] == [getattr(policy, name) for name in names]
    assert paced.leadership.lease == policy.leadership.lease
    assert paced.worker.claim_ttl == policy.worker.claim_ttl
    now.seconds = 1000.0
    assert (paced.poll_interval, paced.leadership.lease, paced.worker.claim_ttl) == (HOUR, 3 * HOUR, 3 * HOUR)
    assert paced.shutdown_timeout == policy.shutdown_timeout
    assert paced.worker.concurrency == policy.worker.concurrency
    assert paced.worker.unknown_function_pause == policy.worker.unknown_function_pause
