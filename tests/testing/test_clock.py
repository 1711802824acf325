"""ManualClock: a clock that moves only by its methods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from task_manager_core.ports import Clock
from task_manager_core.testing import ManualClock

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_the_time_of_the_clock_does_not_run_by_itself() -> None:
    clock: Clock = ManualClock(NOON)
    assert [clock.now(), clock.now()] == [NOON, NOON]
    assert clock.monotonic() == clock.monotonic()


def test_time_passes_for_both_readings() -> None:
    clock = ManualClock(NOON)
    before = clock.monotonic()
    clock.advance(timedelta(hours=1, milliseconds=1))
    assert clock.now() == NOON + timedelta(hours=1, milliseconds=1)
    assert clock.monotonic() - before == pytest.approx(3600.001)


def test_the_wall_clock_jumps_alone() -> None:
    clock = ManualClock(NOON)
    before = clock.monotonic()
    clock.set_wall(NOON - timedelta(days=1))
    assert clock.now() == NOON - timedelta(days=1)
    assert clock.monotonic() == before


def test_it_shows_utc() -> None:
    clock = ManualClock(NOON.astimezone(timezone(timedelta(hours=2))))
    assert (clock.now(), clock.now().tzinfo) == (NOON, UTC)


def test_time_does_not_go_back_and_has_a_zone() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(timedelta(microseconds=-1))
    with pytest.raises(ValueError, match="aware"):
        clock.set_wall(NOON.replace(tzinfo=None))
