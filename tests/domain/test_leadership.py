"""Leadership, as far as one node can judge it by its own clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import (
    TRANSITIONS,
    Campaign,
    Depose,
    LeadershipState,
    LeadershipTransition,
    LeaderSign,
    Renew,
    Rest,
    StepDown,
    Suspicion,
    Term,
    TrustedTerm,
    bid_delay,
    decide,
    judge,
)
from task_manager_core.domain.policy import LeadershipPolicy

POLICY = LeadershipPolicy(heartbeat=timedelta(seconds=3), retry_interval=timedelta(seconds=5))
TERM = Term(NodeId("a"), 7)

instants = st.floats(0, 1e6)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=0.75)
SIGN = LeaderSign(now=NOON, term=TERM, remaining=timedelta(seconds=9), progress=4, first_due=NOON)


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
    wait = bid_delay(remaining, POLICY)
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


def look(
    earlier: Suspicion | None, sign: LeaderSign, at: float, journey: float = 0.0
) -> tuple[Suspicion | None, object]:
    """A look whose answer comes at this local instant, and the next step."""
    suspicion = Suspicion.after(earlier, sign, at)
    return suspicion, judge(suspicion, sign, asked_at=at - journey, answered_at=at, grace=GRACE)


def test_a_leader_in_doubt_renews_early() -> None:
    assert decide(granted(10.0), 10.5, in_doubt=True) == Renew(TERM)
    assert decide(None, 10.5, in_doubt=True) == Campaign()


def test_a_slot_that_is_due_at_the_first_look_has_a_whole_grace() -> None:
    overdue = replace(SIGN, first_due=NOON - timedelta(hours=1))
    suspicion, step = look(None, overdue, 100.0)
    assert isinstance(step, Rest)
    _, step = look(suspicion, overdue, 100.0 + GRACE.total_seconds())
    assert step == Depose(overdue)


@given(ahead=st.integers(0, 10_000), first=instants, elapsed=st.integers(0, 20_000), journey=st.floats(0, 10))
def test_no_leader_is_deposed_before_the_grace_of_the_slot_is_over(
    ahead: int, first: float, elapsed: int, journey: float
) -> None:
    """Invariant: the grace, and twice the time that the answer took, lie between the due instant and the request."""
    early = replace(SIGN, first_due=NOON + timedelta(milliseconds=ahead))
    suspicion, step = look(None, early, first)
    assert isinstance(step, Rest)
    later = replace(early, now=NOON + timedelta(milliseconds=elapsed))
    at = first + elapsed / 1000
    _, step = look(suspicion, later, at, journey)
    waited = at - journey - first - ahead / 1000
    if isinstance(step, Depose):
        assert waited >= GRACE.total_seconds() + 2 * journey - 1e-3
    elif waited > GRACE.total_seconds() + 2 * journey + 1e-3:
        raise AssertionError(f"the leader is not deposed {waited} s after the slot")


@given(ahead=st.integers(-1000, 3000), journey=st.floats(0, 1))
def test_the_next_look_is_soon_enough_and_late_enough_to_depose(ahead: int, journey: float) -> None:
    """Invariant: a follower that rests as long as it is told deposes at the next look."""
    sign = replace(SIGN, first_due=NOON + timedelta(milliseconds=ahead))
    suspicion, step = look(None, sign, 100.0, journey)
    assert isinstance(step, Rest)
    assert step.seconds <= max(ahead, 0) / 1000 + GRACE.total_seconds() + 3 * journey + 0.01
    later = replace(sign, now=NOON + timedelta(seconds=step.seconds + journey))
    _, step = look(suspicion, later, 100.0 + step.seconds + journey, journey)
    assert isinstance(step, Depose)


def test_what_the_leader_does_ends_the_suspicion() -> None:
    suspicion, _ = look(None, SIGN, 100.0)
    changes = (
        replace(SIGN, progress=5),
        replace(SIGN, term=Term(NodeId("a"), 8)),
        replace(SIGN, term=Term(NodeId("b"), 7)),
        replace(SIGN, first_due=NOON - timedelta(seconds=1)),
    )
    for sign in changes:
        following, step = look(suspicion, sign, 200.0)
        assert following is not None
        assert following.since == 200.0
        assert isinstance(step, Rest)


def test_a_store_clock_that_is_set_forward_accuses_no_leader() -> None:
    ahead = replace(SIGN, first_due=NOON + timedelta(hours=1))
    suspicion, _ = look(None, ahead, 100.0)
    _, step = look(suspicion, replace(ahead, now=NOON + timedelta(hours=2)), 101.0)
    assert isinstance(step, Rest)


def test_a_slot_that_is_not_due_any_more_accuses_no_leader() -> None:
    suspicion, _ = look(None, SIGN, 100.0)
    set_back = replace(SIGN, now=NOON - timedelta(hours=1))
    following, step = look(suspicion, set_back, 200.0)
    assert following is not None
    assert following.since == 200.0 + 3600
    assert isinstance(step, Rest)


def test_without_a_planned_slot_there_is_no_suspicion() -> None:
    for sign in (replace(SIGN, first_due=None), replace(SIGN, term=None)):
        assert look(None, sign, 100.0) == (None, None)
