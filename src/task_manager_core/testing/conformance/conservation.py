"""What every snapshot of a store shows after the verbs of `sequences`."""

from __future__ import annotations

from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.run import RunState
from task_manager_core.testing.conformance.sequences import TASKS


def assert_conserved(snapshot: Snapshot) -> None:
    """Every live run is in exactly one place."""
    limits = {of.key: of.live_limit for of in TASKS}
    everything = [live for view in snapshot.tasks for live in view.live]
    assert len({live.run for live in everything}) == len(everything)
    assert snapshot.queued == sum(live.state is RunState.QUEUED for live in everything)
    for live in everything:
        assert (live.worker is not None) == (live.state is RunState.RUNNING), live
        assert (live.due_at is not None) == (live.state is RunState.WAITING), live
        assert live.state not in {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.EXPIRED}, live
    for view in snapshot.tasks:
        free = [live for live in view.live if live.state is not RunState.HELD]
        limit = limits.get(view.key)
        assert limit is None or len(free) <= limit, view
        assert len(free) == limit or free == list(view.live), view
