"""Leadership, as far as one node can judge it by its own clock."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import (
    TRANSITIONS,
    Campaign,
    HeldByOther,
    LeadershipState,
    LeadershipTransition,
    Renew,
    Rest,
    StepDown,
    Term,
    TrustedTerm,
    bid_delay,
    decide,
)
from task_manager_core.domain.policy import LeadershipPolicy

POLICY = LeadershipPolicy(heartbeat=timedelta(seconds=3), retry_interval=timedelta(seconds=5))
TERM = Term(NodeId("a"), 7)

instants = st.floats(0, 1e6)


def granted(asked_at: float) -> TrustedTerm:
    return TrustedTerm.granted(TERM, asked_at=asked_at, policy=POLICY)


def test_without_a_term_a_node_campaigns() -> None:
    assert decide(None, 0.0) == Campaign()


def test_a_leader_rests_until_its_next_heartbeat_and_then_renews() -> None:
    assert decide(granted(10.0), 11.0) == Rest(2.0)
    assert decide(granted(10.0), 13.0) == Renew(TERM)


def test_one_failed_heartbeat_is_not_a_lost_term() -> None:
    for late in (13.0, 15.0, 18.0):
        assert decide(granted(10.0), late) == Renew(TERM)


def test_a_pause_longer_than_trust_forgets_the_term_before_anything_else() -> None:
    assert decide(granted(10.0), 10.0 + POLICY.trust.total_seconds()) == StepDown(TERM)
    assert decide(granted(10.0), 1e9) == StepDown(TERM)


@given(asked_at=instants, journey=st.floats(0, 100), answer=st.floats(0, 100), age=st.floats(0, 100))
def test_trust_ends_before_the_store_can_grant_a_term_to_anybody_else(
    asked_at: float, journey: float, answer: float, age: float
) -> None:
    """Invariant: the trust counts from before the request, so the store's lease, which began later, ends later."""
    lease_began = asked_at + journey
    now = asked_at + journey + answer + age
    if granted(asked_at).trusted(now):
        assert now < lease_began + POLICY.lease.total_seconds()


@given(asked_at=instants, now=instants)
def test_a_decision_is_a_renewal_only_within_trust(asked_at: float, now: float) -> None:
    """Invariant: Rest before the heartbeat, Renew from then to the end of the trust, StepDown afterwards."""
    current = granted(asked_at)
    decision = decide(current, now)
    if not current.trusted(now):
        assert decision == StepDown(TERM)
    elif now >= current.renew_at:
        assert decision == Renew(TERM)
    else:
        assert isinstance(decision, Rest)
        assert 0 < decision.seconds <= current.renew_at - now


def test_equal_tokens_of_two_holders_are_two_terms() -> None:
    assert Term(NodeId("a"), 7) != Term(NodeId("b"), 7)
    assert Term(NodeId("a"), 7) != Term(NodeId("a"), 8)
    assert Term(NodeId("a"), 7) == TERM


@given(st.integers(-(10**9), 10**9))
def test_a_follower_waits_until_the_lease_could_be_free_at_most_the_retry_interval(milliseconds: int) -> None:
    """Invariant: 10 ms ≤ delay ≤ retry interval: no busy loop, and no endless sleep."""
    remaining = timedelta(milliseconds=milliseconds)
    wait = bid_delay(HeldByOther(NodeId("b"), remaining), POLICY)
    assert timedelta(milliseconds=10) <= wait <= POLICY.retry_interval
    if timedelta(milliseconds=10) <= remaining <= POLICY.retry_interval:
        assert wait == remaining


def test_a_follower_becomes_leader_in_one_way_and_a_leader_follower_in_three() -> None:
    assert {transition for state, transition in TRANSITIONS if state is LeadershipState.FOLLOWER} == {
        LeadershipTransition.WON
    }
    assert {transition for state, transition in TRANSITIONS if state is LeadershipState.LEADER} == set(
        LeadershipTransition
    ) - {LeadershipTransition.WON}
    assert all(state is not after for (state, _), after in TRANSITIONS.items())
