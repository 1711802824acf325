"""Clocks of simulated machines."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.testing.cluster.clock import START, SimClock


def test_clocks_jump_and_drift_apart_from_true_time() -> None:
    time = [0.0]
    clock = SimClock(lambda: time[0])
    clock.jump(60.0)
    assert clock.now() == START + timedelta(seconds=60)
    assert clock.monotonic() == 0.0
    time[0] = 10.0
    clock.drift(1.5)
    time[0] = 20.0
    assert clock.monotonic() == 25.0
    assert clock.now() == START + timedelta(seconds=85)
