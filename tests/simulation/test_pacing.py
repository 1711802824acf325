"""How long a rest may be."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.policy import NodePolicy
from task_manager_core.testing.simulation.pacing import PacedNode, Pacing

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Now:
    """A clock that is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def a_tide() -> tuple[Pacing, Now]:
    now = Now()
    return Pacing(now, calm=HOUR, settling=90 * SECOND), now


def test_a_rest_is_long_when_nothing_will_happen() -> None:
    tide, _ = a_tide()
    assert tide.rest(3 * SECOND) == HOUR
    assert tide.rest(2 * HOUR) == 2 * HOUR


def test_a_rest_is_the_configured_one_from_a_fault_until_the_cluster_has_settled() -> None:
    tide, now = a_tide()
    tide.expect(100.0, 110.0)
    rests = {}
    for now.seconds in (99.0, 100.0, 150.0, 199.9, 200.0):
        rests[now.seconds] = tide.rest(3 * SECOND)
    assert list(rests.values()) == [3 * SECOND] * 4 + [HOUR]


def test_a_fault_that_waits_for_its_occasion_keeps_rests_short_until_then() -> None:
    tide, now = a_tide()
    happened = tide.expect_some_time_after(100.0)
    now.seconds = 100_000.0
    assert tide.rest(3 * SECOND) == 3 * SECOND
    happened()
    happened()
    assert tide.rest(3 * SECOND) == 3 * SECOND
    now.seconds += 91
    assert tide.rest(3 * SECOND) == HOUR


@given(
    fault=st.integers(1, 20_000),
    start=st.integers(0, 20_000_000),
    configured=st.integers(1, 60_000).map(lambda ms: timedelta(milliseconds=ms)),
)
def test_a_beat_always_comes_before_its_claim_ends_and_none_reaches_beyond_a_fault(
    fault: int, start: int, configured: timedelta
) -> None:
    tide, now = a_tide()
    tide.expect(float(fault))
    now.seconds = begun = min(start / 1000, float(fault))
    while begun < fault:
        rest = tide.rest(configured)
        assert configured <= rest
        assert rest == configured or begun + rest.total_seconds() <= fault
        end = begun + rest.total_seconds()
        for now.seconds in (begun, (begun + end) / 2, end - 0.0005, end):
            if now.seconds < fault:
                assert now.seconds - begun < 3 * tide.rest(configured).total_seconds() * 0.9
        begun = end


def test_a_tidal_policy_is_the_configured_one_in_a_window_and_keeps_what_is_no_rest() -> None:
    tide, now = a_tide()
    tide.expect(0.0)
    policy = NodePolicy()
    tidal = PacedNode(policy, tide)
    names = ("poll_interval", "refresh_interval", "reconciliation_interval", "signal_wait", "presence_ttl")
    assert [getattr(tidal, name) for name in names] == [getattr(policy, name) for name in names]
    assert tidal.leadership.lease == policy.leadership.lease
    assert tidal.worker.claim_ttl == policy.worker.claim_ttl
    now.seconds = 1000.0
    assert (tidal.poll_interval, tidal.leadership.lease, tidal.worker.claim_ttl) == (HOUR, 3 * HOUR, 3 * HOUR)
    assert tidal.shutdown_timeout == policy.shutdown_timeout
    assert tidal.worker.concurrency == policy.worker.concurrency
    assert tidal.worker.unknown_function_pause == policy.worker.unknown_function_pause
