"""Compares a store with a model: the same steps give the same answers and the same state after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from task_manager_core.domain.observation import LiveRun, TaskView
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.clock import ManualClock
from task_manager_core.testing.conformance.conservation import assert_conserved
from task_manager_core.testing.conformance.factories import STARTED
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.sequences import (
    HALF,
    KEYS,
    NUMBERS,
    SETUP_STEPS,
    VERB_MIX,
    Step,
    StepRunner,
)
from task_manager_core.testing.conformance.store import EVERYTHING, Store

OpenHarness = Callable[[], AbstractAsyncContextManager[Harness]]
"""Opens an empty store. The tests call it many times."""


class ModelContract:
    """A comparison as a test. A subclass has two fixtures, `open_harness` and `model`.

    `model` is an `OpenBackend` that takes its time from the clock and is empty when it is opened, such as
    `task_manager_memory.open_backend`.
    """

    examples: ClassVar[int] = 50
    longest: ClassVar[int] = 40

    def test_the_store_answers_like_the_model(self, open_harness: OpenHarness, model: OpenBackend) -> None:
        @settings(max_examples=self.examples, deadline=None)
        @given(_sequences(self.longest))
        def judge(steps: list[Step]) -> None:
            with asyncio.Runner() as runner:
                runner.run(compare(open_harness, model, steps))

        judge()


def _sequences(longest: int) -> st.SearchStrategy[list[Step]]:
    """Lists of steps. All lengths are equally likely, because many differences show only after many steps."""
    return st.integers(0, longest).flatmap(lambda least: st.lists(_STEPS, min_size=least, max_size=longest))


_STEPS = st.builds(Step, st.sampled_from(VERB_MIX), *(st.integers(0, number - 1) for number in NUMBERS))


async def compare(open_harness: OpenHarness, model: OpenBackend, steps: Sequence[Step]) -> None:
    """Run the steps on a store and on the model. Errors: AssertionError for the first difference."""
    async with open_harness() as harness:
        store = Store(harness)
        origin = await store.slot()
        clock = ManualClock(origin)
        async with model(clock=clock, retention=harness.retention) as backend:

            async def advance(delta: timedelta) -> None:
                clock.advance(delta)

            async def set_back(delta: timedelta) -> None:
                clock.set_wall(clock.now() - delta)

            modelled = Harness(backend=backend, advance=advance, set_back=set_back, retention=harness.retention)
            both = store, Store(modelled)
            players = [StepRunner(one, origin, settable=store.settable) for one in both]
            for number, step in enumerate((*SETUP_STEPS, *steps)):
                found, expected = [await player.run_step(step) for player in players]
                assert found == expected, f"step {number}: {step}"
                seen, expected = [await observe(player) for player in players]
                assert seen == expected, f"after step {number}: {step}"


async def observe(player: StepRunner) -> dict[str, object]:
    """The whole state of a store, without the values that each store chooses itself."""
    store, origin = player.store, player.origin
    snapshot = await store.history.snapshot()
    assert_conserved(snapshot)
    agenda = await store.dispatch.agenda(EVERYTHING)
    changes = await store.catalogue.load(0)
    versions = sorted({view.version for view in snapshot.tasks})

    def half_units(instant: datetime | None) -> int | None:
        return None if instant is None else (instant - origin) // HALF

    def run_state(live: LiveRun) -> object:
        place = live.state, live.worker, half_units(live.due_at), live.retrying, live.cancelling
        return live.run, live.slot, live.attempt, live.failures, live.losses, place

    def task_state(view: TaskView) -> object:
        state = view.next_slot, view.decided, view.paused, half_units(view.resumed_at), view.retired
        return state, dict(view.skipped), sorted(map(run_state, view.live), key=str)

    def line_state(line: AttemptRecord) -> object:
        """A line of history. The store's own lines have instants of its time, the others have the times of the test."""
        measured = line.started_at == STARTED
        when: object = line.duration if measured else (half_units(line.started_at), line.duration // HALF)
        return line.run, line.slot, line.attempt, line.status, line.worker, line.token > 0, when, line.failure

    return {
        "now": half_units(snapshot.now),
        "term": None if snapshot.term is None else player.terms.index(snapshot.term),
        "nodes": snapshot.nodes,
        "queued": snapshot.queued,
        "tasks": {view.key: task_state(view) for view in snapshot.tasks},
        "versions": [(view.key, versions.index(view.version)) for view in snapshot.tasks],
        "agenda": {
            due.key: (due.slot, due.due_at, due.paused, half_units(due.resumed_at), due.live, due.held, due.retrying)
            for due in agenda.due
        },
        "earliest first": [due.due_at for due in agenda.due],
        "next due": agenda.next_due,
        "definitions": None if changes is None else [stored.definition for stored in changes.changed],
        "keys": None if changes is None else (changes.keys, changes.retired),
        "lines": [[line_state(line) for line in await store.history.read(key, EVERYTHING)] for key in KEYS],
        "skips": [await store.history.skips(key, EVERYTHING) for key in KEYS],
    }
