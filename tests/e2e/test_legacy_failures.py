"""The ten failures of the earlier package do not happen here: tests on a real Redis and with real processes."""

from __future__ import annotations

import pytest

from tests.e2e.draining import leader_terminated
from tests.e2e.history_checks import assert_accounted_for, assert_dispatched_at_most_once, repeated
from tests.e2e.legacy_failures import (
    FEW,
    HEARTBEAT,
    MANY,
    TOPOLOGIES,
    disabled,
    first_start,
    idle_cost,
    leader_frozen,
    rolling_deploy,
    together,
)
from tests.e2e.scenarios import Scenarios

pytestmark = pytest.mark.e2e

# -- 1, 2, 9 and 10: two processes with failing runs, a long run and similar names
# ----------------------------------------------------------


def test_1_a_task_longer_than_nine_heartbeats_is_not_started_again(scenarios: Scenarios) -> None:
    seen = scenarios.of(together)
    started, finished = seen.long_run
    assert (started.event, finished.event, started.attempt) == ("started", "finished", 1)
    assert finished.monotonic - started.monotonic > 9 * HEARTBEAT


def test_2_a_retry_executes_the_failed_run_again(scenarios: Scenarios) -> None:
    """A retry is the same run for the same slot, not a later slot."""
    seen = scenarios.of(together)
    first, second = seen.failing[:2]
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.run_id, first.slot) == (second.run_id, second.slot)
    assert seen.failing_skipped["backoff"] >= 1


# -- 3: a function that only one process knows ------------------------------------------------------------------------


def test_3_every_process_knows_a_dynamic_task_and_none_drops_its_runs(scenarios: Scenarios) -> None:
    seen = scenarios.of(rolling_deploy)
    assert seen.listed == [True, True]
    assert seen.refused == 400
    assert seen.released == []
    assert [(one.event, one.pid) for one in seen.executed] == [("started", seen.newer), ("finished", seen.newer)]
    assert [run["status"] for run in seen.runs] == ["succeeded"]


# -- 4: a disabled task -----------------------------------------------------------------------------------------------


def test_4_a_disabled_task_stays_disabled_when_everything_that_can_expire_has_expired(scenarios: Scenarios) -> None:
    seen = scenarios.of(disabled)
    assert seen.active == [False, False]
    assert [slot for slot in seen.slots if seen.disabled_at < slot <= seen.enabled_at] == []
    kinds = {key.split(":")[1] for key in seen.expiring}
    assert kinds <= {"attempts", "skipped", "requested"}


# -- 5: the first deploy, a flush, a long stop ------------------------------------------------------------------------


def test_5_no_task_starts_at_once_on_the_first_deploy_after_a_flush_or_after_a_long_stop(scenarios: Scenarios) -> None:
    seen = scenarios.of(first_start)
    assert seen.yearly == []
    assert [one for one in seen.first_sight if one.slot is None or one.slot.timestamp() <= seen.started_at] == []
    # Each slot of the stop succeeded or was skipped; most were skipped.
    assert_accounted_for(seen.plain, seen.gap)
    assert "catch_up" in {skip["reason"] for skip in seen.plain.skipped}
    assert_dispatched_at_most_once(seen.effects)


# -- 6: a leader that drains ------------------------------------------------------------------------------------------


def test_6_a_draining_leader_keeps_no_lock_and_another_one_schedules(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_terminated)
    _, finished = seen.own_run
    assert seen.resigned.at <= seen.won.at < finished.wall
    assert seen.slots_meanwhile >= 2


# -- 7: a leader that was paused --------------------------------------------------------------------------------------


def test_7_a_paused_leader_publishes_nothing_after_its_lock_is_gone(scenarios: Scenarios) -> None:
    """The store writes a decision and the next slot together, and refuses both if the term is over."""
    seen = scenarios.of(leader_frozen)
    assert seen.ended
    assert [slot for slot in seen.by_the_old_leader if slot > seen.frozen_at] == []
    assert repeated(seen.dispatched) == {}
    assert_dispatched_at_most_once(seen.effects)
    assert_accounted_for(seen.steady, seen.window)


# -- 8: cost while nothing is due -------------------------------------------------------------------------------------


def test_8_the_cost_of_redis_does_not_grow_with_the_number_of_tasks_while_nothing_is_due(scenarios: Scenarios) -> None:
    cost = scenarios.of(idle_cost)
    assert cost[FEW] > 0
    assert cost[MANY] / cost[FEW] < 1.5


# -- 9: names ---------------------------------------------------------------------------------------------------------


def test_9_groups_and_names_with_underscores_share_no_state(scenarios: Scenarios) -> None:
    seen = scenarios.of(together)
    assert seen.active == {"a_b/c": False, "a/b_c": True}
    assert seen.started_after_trigger == {"a/b_c"}
    assert seen.histories == {"a_b/c": 0, "a/b_c": 1}


# -- 10: traces, time zones and ways to a Redis -----------------------------------------------------------------------


def test_10_a_failure_leaves_a_trace(scenarios: Scenarios) -> None:
    """The test may read it at another process than the one that failed."""
    seen = scenarios.of(together)
    failed = seen.failing_runs[-1]
    assert (failed["status"], failed["attempt"], failed["error_type"]) == ("retried", 1, "ConnectionError")
    assert failed["error_message"] == "attempt 1 fails on purpose"
    assert "raise ConnectionError" in failed["error_traceback"]


def test_10_a_schedule_has_a_time_zone(scenarios: Scenarios) -> None:
    """Noon in Rome is 12:00 local time on every day of a year, and 10:00 or 11:00 UTC."""
    slots = scenarios.of(together).upcoming
    assert {slot["local"][11:19] for slot in slots} == {"12:00:00"}
    assert {slot["utc"][11:19] for slot in slots} == {"10:00:00", "11:00:00"}


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_10_the_store_works_on_each_topology_of_redis(scenarios: Scenarios, topology: str) -> None:
    assert scenarios.of(TOPOLOGIES[topology]) == ["succeeded"]


SCENARIOS = (
    first_start,
    together,
    idle_cost,
    disabled,
    leader_frozen,
    rolling_deploy,
    leader_terminated,
    *TOPOLOGIES.values(),
)
