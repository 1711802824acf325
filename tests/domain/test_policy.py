"""A policy that cannot work is refused when it is built. The error names the field, the value and the limit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.policy import (
    DEPOSITION_GRACE,
    LEASE_HEARTBEATS,
    LONGEST_TIME,
    BatchPolicy,
    CatchUp,
    LeadershipPolicy,
    NodePolicy,
    Retention,
    RetryPolicy,
    WorkerPolicy,
)

ZERO = timedelta(0)
SECOND = timedelta(seconds=1)
UNSTORABLE = timedelta(microseconds=1500)
TOO_LONG = LONGEST_TIME + SECOND

REFUSALS: list[tuple[Callable[[], object], str, object, str]] = [
    (lambda: CatchUp(window=ZERO), "catch_up.window", 0.0, "0.001 to"),
    (lambda: CatchUp(window=TOO_LONG), "catch_up.window", TOO_LONG.total_seconds(), "31622400"),
    (lambda: CatchUp(mode=cast("Any", "all")), "catch_up.mode", "all", "of type CatchUpMode"),
    (lambda: CatchUp(window=cast("Any", 60)), "catch_up.window", 60, "of type timedelta"),
    (lambda: CatchUp(limit=cast("Any", 1.5)), "catch_up.limit", 1.5, "of type int"),
    (lambda: CatchUp(limit=cast("Any", True)), "catch_up.limit", True, "of type int"),
    (lambda: CatchUp(grace=cast("Any", None)), "catch_up.grace", None, "of type timedelta"),
    (lambda: CatchUp(limit=0), "catch_up.limit", 0, "between 1 and 500"),
    (lambda: CatchUp(limit=501), "catch_up.limit", 501, "between 1 and 500"),
    (lambda: CatchUp(grace=-SECOND), "catch_up.grace", -1.0, "0 to"),
    (lambda: CatchUp(grace=TOO_LONG), "catch_up.grace", TOO_LONG.total_seconds(), "0 to"),
    (lambda: RetryPolicy(initial=ZERO), "retry_backoff", 0.0, "0.001 to"),
    (lambda: RetryPolicy(initial=UNSTORABLE), "retry_backoff", 0.0015, "whole number of milliseconds"),
    (lambda: RetryPolicy(maximum=TOO_LONG), "retry_backoff_max", TOO_LONG.total_seconds(), "0.001 to"),
    (
        lambda: RetryPolicy(initial=5 * SECOND, maximum=SECOND),
        "retry_backoff_max",
        1.0,
        "must not be below retry_backoff=5.0",
    ),
    (lambda: RetryPolicy(multiplier=0.5), "retry_backoff_multiplier", 0.5, "1 to 1000"),
    (lambda: RetryPolicy(multiplier=float("inf")), "retry_backoff_multiplier", float("inf"), "1 to 1000"),
    (lambda: RetryPolicy(jitter=1.5), "retry_jitter", 1.5, "between 0 and 1"),
    (lambda: RetryPolicy(max_retries=-1), "max_retries", -1, "must not be negative"),
    (lambda: RetryPolicy(max_lost_attempts=-1), "max_lost_attempts", -1, "must not be negative"),
    (lambda: RetryPolicy(retry_on=("\ud800",)), "retry_on", "\ud800", "valid unicode"),
    (lambda: RetryPolicy(no_retry_on=("\udfff",)), "no_retry_on", "\udfff", "valid unicode"),
    (lambda: LeadershipPolicy(heartbeat=ZERO), "leader_heartbeat_interval", 0.0, "more than 0"),
    (lambda: LeadershipPolicy(retry_interval=-SECOND), "leader_retry_interval", -1.0, "more than 0"),
    (lambda: WorkerPolicy(concurrency=0), "concurrent_tasks", 0, "1 to 100000"),
    (lambda: WorkerPolicy(concurrency=100_001), "concurrent_tasks", 100_001, "1 to 100000"),
    (lambda: WorkerPolicy(heartbeat=ZERO), "running_heartbeat_interval", 0.0, "more than 0"),
    (lambda: WorkerPolicy(wait=ZERO), "stream_block_ms", 0.0, "more than 0"),
    (lambda: WorkerPolicy(unknown_function_pause=ZERO), "unknown_function_pause", 0.0, "more than 0"),
    (lambda: NodePolicy(poll_interval=ZERO), "poll_interval", 0.0, "more than 0"),
    (lambda: NodePolicy(refresh_interval=ZERO), "refresh_interval", 0.0, "more than 0"),
    (lambda: NodePolicy(reconciliation_interval=ZERO), "reconciliation_interval", 0.0, "more than 0"),
    (lambda: NodePolicy(notifier_wait=ZERO), "notifier_wait", 0.0, "more than 0"),
    (lambda: NodePolicy(shutdown_timeout=-SECOND), "shutdown_timeout", -1.0, "must not be negative"),
    (lambda: NodePolicy(poll_interval=10 * SECOND), "poll_interval", 10.0, "the lease of 9.0 s"),
    (lambda: NodePolicy(deposition_grace=ZERO), "leader_deposition_grace", 0.0, "0.2 s (2 × poll_interval)"),
    (
        lambda: NodePolicy(deposition_grace=SECOND, poll_interval=SECOND),
        "leader_deposition_grace",
        1.0,
        "2.0 s (2 × poll_interval)",
    ),
    (
        lambda: NodePolicy(deposition_grace=10 * SECOND),
        "leader_deposition_grace",
        10.0,
        "the lease of 9.0 s (3 × leader_heartbeat_interval)",
    ),
    (lambda: Retention(runs=0), "statistics_history_runs", 0, "1 to 1000000"),
    (lambda: Retention(ttl=ZERO), "statistics_redis_expiration", 0.0, "more than 0"),
]


@pytest.mark.parametrize(("build", "field", "value", "reason"), REFUSALS)
def test_a_refusal_names_the_field_the_value_and_what_it_was_compared_with(
    build: Callable[[], object], field: str, value: object, reason: str
) -> None:
    with pytest.raises(InvalidPolicy) as refusal:
        build()
    assert (refusal.value.field, refusal.value.value) == (field, value)
    assert reason in refusal.value.reason
    assert field in str(refusal.value)


def test_not_a_number_is_no_multiplier_and_no_jitter() -> None:
    nan = float("nan")
    with pytest.raises(InvalidPolicy, match="retry_backoff_multiplier"):
        RetryPolicy(multiplier=nan)
    with pytest.raises(InvalidPolicy, match="retry_jitter"):
        RetryPolicy(jitter=nan)


def test_the_limits_themselves_are_allowed() -> None:
    CatchUp(window=LONGEST_TIME, limit=500, grace=ZERO)
    RetryPolicy(initial=timedelta(milliseconds=1), maximum=LONGEST_TIME, multiplier=1000.0, jitter=1.0, max_retries=0)
    NodePolicy(poll_interval=LeadershipPolicy().lease, shutdown_timeout=ZERO)
    WorkerPolicy(concurrency=100_000)
    Retention(runs=1_000_000)


def test_the_grace_of_a_slot_fits_the_poll_interval_and_the_lease() -> None:
    assert NodePolicy().grace == DEPOSITION_GRACE
    assert NodePolicy(deposition_grace=9 * SECOND).grace == 9 * SECOND
    assert NodePolicy(poll_interval=SECOND).grace == 2 * SECOND
    assert NodePolicy(poll_interval=9 * SECOND).grace == 9 * SECOND
    quick = LeadershipPolicy(heartbeat=timedelta(milliseconds=100))
    assert NodePolicy(leadership=quick).grace == quick.lease


def test_a_lease_outlives_two_lost_heartbeats_and_trust_ends_before_it() -> None:
    policy = LeadershipPolicy(heartbeat=SECOND)
    assert policy.lease == LEASE_HEARTBEATS * SECOND
    assert 2 * SECOND < policy.trust < policy.lease
    assert WorkerPolicy(heartbeat=SECOND).claim_ttl == 3 * SECOND


def test_a_node_counts_as_living_for_ten_refreshes_but_at_least_ten_seconds() -> None:
    assert NodePolicy(refresh_interval=timedelta(milliseconds=10)).presence_ttl == 10 * SECOND
    assert NodePolicy(refresh_interval=3 * SECOND).presence_ttl == 30 * SECOND


@pytest.mark.parametrize(
    ("retry_on", "no_retry_on", "deserves"),
    [
        ((), (), True),
        (("builtins.OSError",), (), True),
        (("builtins.ValueError",), (), False),
        (("builtins.Exception",), (), True),
        ((), ("builtins.OSError",), False),
        (("builtins.ConnectionError",), ("builtins.OSError",), False),
        ((), ("builtins.ValueError",), True),
    ],
)
def test_an_exception_is_judged_by_every_class_it_is_and_a_refusal_wins(
    retry_on: tuple[str, ...], no_retry_on: tuple[str, ...], deserves: bool
) -> None:
    classes = ("builtins.ConnectionError", "builtins.OSError", "builtins.Exception", "builtins.object")
    assert RetryPolicy(retry_on=retry_on, no_retry_on=no_retry_on).retries(classes) is deserves


@pytest.mark.parametrize("field", ["tasks_per_commit", "slots_per_commit", "settlements", "reaped_claims"])
@pytest.mark.parametrize("value", [0, -1, 10_001])
def test_a_batch_that_carries_nothing_or_too_much_is_refused(field: str, value: int) -> None:
    with pytest.raises(InvalidPolicy, match=field):
        BatchPolicy(**{field: value})
