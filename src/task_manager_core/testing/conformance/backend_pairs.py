"""Tests of pairs of verbs at the same time: they answer and change the same as one verb after the other.

Every pair is tested. The test starts one verb and calls the other one while the first still runs. The answers and the
state of the store afterwards must be those of one of the two orders; the test runs both orders too. A store that reads
a record, waits and writes the old record back fails here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import TypeAlias

import pytest

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.observation import LiveRun, Snapshot
from task_manager_core.domain.planning import Agenda
from task_manager_core.domain.run import Claim, Outcome, Retried, Run, Succeeded
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Changes, Conflict
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    MINUTE,
    NOTHING,
    TTL,
    WORKER,
    decision,
    definition,
    exclusive,
    run,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store

OTHER = NodeId("other")

Ask = Callable[["TaskSetup"], Awaitable[object]]
"""Calls a verb. The answer has a form that can be compared with the answer in another setup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSetup:
    """A task in a known state. All tasks of one kind of setup are in the same state.

    A worker holds `claim`. No worker runs `asked`. Both may be None.
    """

    store: Store
    term: Term
    of: TaskDefinition
    version: int
    slot: datetime
    names: Mapping[RunId, str]
    claim: Claim | None = None
    asked: Run | None = None

    @property
    def claims(self) -> list[Claim]:
        return [] if self.claim is None else [self.claim]

    # -- answers and states that can be compared ----------------------------------------------------------------------

    def name(self, found: RunId) -> str:
        """The name of a run in this setup, which does not depend on the name of the task."""
        return self.names.get(found, "unknown")

    def since(self, instant: datetime | None) -> int | None:
        """Whole minutes since the slot. The time of a store may run by itself, but not for so long."""
        return None if instant is None else (instant - self.slot) // MINUTE

    def comparable_claims(self, claims: Collection[Claim]) -> object:
        return sorted((self.name(one.run.id), one.attempt, one.failures, one.losses, one.worker) for one in claims)

    def comparable_run(self, live: LiveRun) -> object:
        place = live.state.value, str(live.worker), self.since(live.due_at), live.retrying, live.cancelling
        return self.name(live.run), live.attempt, live.failures, live.losses, place

    def comparable_snapshot(self, snapshot: Snapshot) -> object:
        tasks = [
            (
                view.version > self.version,
                None
                if view.next_slot is None
                else (self.since(view.next_slot.slot), self.since(view.next_slot.due_at)),
                (view.paused, view.resumed_at is not None, view.retired),
                sorted(map(self.comparable_run, view.live), key=str),
                dict(view.skipped),
            )
            for view in snapshot.tasks
        ]
        return tasks, snapshot.queued, snapshot.term == self.term

    def comparable_agenda(self, agenda: Agenda) -> object:
        due = [
            (self.since(one.slot), one.paused, one.resumed_at is not None, (one.live, one.held, one.retrying))
            for one in agenda.due
        ]
        return due, self.since(agenda.next_due)

    def comparable_changes(self, changes: Changes | None) -> object:
        if changes is None:
            return None
        changed = [(stored.definition.description, stored.version > self.version) for stored in changes.changed]
        return changed, len(changes.keys), len(changes.removed), len(changes.retired)

    async def observe(self) -> object:
        """The state of the task in the store, and the answers of further verbs about it."""
        store, key = self.store, self.of.key
        seen = (
            self.comparable_snapshot(await store.history.snapshot()),
            self.comparable_agenda(await store.dispatch.agenda(10)),
            self.comparable_changes(await store.catalogue.load(0)),
            [(self.name(line.run), line.attempt, line.status.value) for line in await store.records(key)],
            [(self.since(one.first), one.count, one.reason.value) for one in await store.history.skips(key, 10)],
            await _extend(self),
        )
        await store.queue.promote([key])
        return (
            *seen,
            self.comparable_claims(await store.claim(OTHER)),
            self.comparable_claims(await store.queue.claim(WORKER, 9, NOTHING, [])),
        )


# -- setups -----------------------------------------------------------------------------------------------------------

_NUMBERS = count()


async def _common_setup(store: Store, of: TaskDefinition) -> TaskSetup:
    """A task with a due slot, a line of history, a skip, and a pause that has ended."""
    term, slot = await store.lead(), await store.slot(-MINUTE)
    lost = skipped(slot - HOUR, last=slot - 2 * MINUTE, count=59)
    [version] = await store.catalogue.put([definition(of, slot=slot, skips=[lost])])
    assert isinstance(version, int)
    assert await store.settle(await store.claim_new(run(of, "settled")))
    await store.dispatch.pause([of.key])
    await store.dispatch.resume([of.key])
    names = {run(of, request).id: request for request in ("running", "held", "retried", "queued", "new")}
    names[of.run_of_slot(slot, version).id] = "of the slot"
    return TaskSetup(store=store, term=term, of=of, version=version, slot=slot, names=names)


async def idle(store: Store) -> TaskSetup:
    """No run lives."""
    return await _common_setup(store, exclusive(f"idle {next(_NUMBERS)}"))


async def busy(store: Store) -> TaskSetup:
    """An exclusive run whose claim has expired, and a run that is held."""
    setup = await _common_setup(store, exclusive(f"busy {next(_NUMBERS)}"))
    claim, held = await store.claim_new(run(setup.of, "running")), run(setup.of, "held")
    await store.enqueue(held)
    await store.advance(2 * TTL)
    return replace(setup, claim=claim, asked=held)


async def crowded(store: Store) -> TaskSetup:
    """A run waits for its retry, a run is queued, a run is running, and the task is paused."""
    setup = await _common_setup(store, task(f"crowded {next(_NUMBERS)}"))
    assert await store.settle(await store.claim_new(run(setup.of, "retried")), Retried(HOUR))
    claim, queued = await store.claim_new(run(setup.of, "running")), run(setup.of, "queued")
    await store.enqueue(queued)
    await store.dispatch.pause([setup.of.key])
    return replace(setup, claim=claim, asked=run(setup.of, "retried"))


# -- verbs ------------------------------------------------------------------------------------------------------------


async def _put(setup: TaskSetup, *, replan: bool) -> object:
    changed = replace(setup.of, description="replanned" if replan else "described")
    one = definition(
        changed,
        expected=setup.version,
        replan=replan,
        slot=setup.slot + DAY,
        skips=[skipped(setup.slot)] if replan else [],
    )
    [answer] = await setup.store.catalogue.put([one])
    return "conflict" if isinstance(answer, Conflict) else answer > setup.version


async def _commit(setup: TaskSetup, what: str) -> object:
    of, version, slot = setup.of, setup.version, setup.slot
    dispatched, then = of.run_of_slot(slot, version), slot + HOUR
    one = {
        "dispatch": decision(of, version, slot, dispatch=[dispatched], then=then),
        "hold": decision(of, version, slot, hold=dispatched, then=then),
        "skip": decision(of, version, slot, skips=[skipped(slot)], then=then),
    }[what]
    return await setup.store.dispatch.commit(setup.term, [one])


async def _extend(setup: TaskSetup) -> object:
    extension = await setup.store.queue.extend(setup.claims, 10 * TTL)
    return len(extension.lost), len(extension.cancelling)


async def _settle(setup: TaskSetup, outcome: Outcome) -> object:
    return len(await setup.store.queue.settle([settlement(claim, outcome) for claim in setup.claims]))


async def _reap(setup: TaskSetup) -> object:
    reaped = await setup.store.queue.reap(setup.term, TTL, 10)
    return reaped if isinstance(reaped, Fenced) else setup.comparable_claims(reaped)


async def _retire(setup: TaskSetup) -> object:
    retired = await setup.store.catalogue.retire(setup.term, [setup.of.key])
    return retired if isinstance(retired, Fenced) else len(retired)


async def _cancel(setup: TaskSetup, wanted: RunId | None) -> object:
    return () if wanted is None else await setup.store.queue.cancel([(setup.of.key, wanted)])


async def _counted(answer: Awaitable[Collection[TaskKey]]) -> object:
    return len(await answer)


async def _claim(setup: TaskSetup, worker: NodeId, known: Collection[Claim] | None) -> object:
    return setup.comparable_claims(await setup.store.queue.claim(worker, 1, NOTHING, known))


async def _release(setup: TaskSetup, *, later: bool) -> object:
    return len(await setup.store.queue.release(setup.claims, HOUR if later else NOTHING, started=True))


async def _snapshot(setup: TaskSetup) -> object:
    return setup.comparable_snapshot(await setup.store.history.snapshot())


async def _agenda(setup: TaskSetup) -> object:
    return setup.comparable_agenda(await setup.store.dispatch.agenda(10))


async def _load(setup: TaskSetup) -> object:
    return setup.comparable_changes(await setup.store.catalogue.load(setup.version))


VERBS: dict[str, Ask] = {
    "describe": lambda setup: _put(setup, replan=False),
    "replan": lambda setup: _put(setup, replan=True),
    "remove": lambda setup: _counted(setup.store.catalogue.remove([setup.of.key])),
    "retire": _retire,
    "pause": lambda setup: _counted(setup.store.dispatch.pause([setup.of.key])),
    "resume": lambda setup: _counted(setup.store.dispatch.resume([setup.of.key])),
    "clear": lambda setup: _counted(setup.store.history.clear([setup.of.key])),
    "dispatch": lambda setup: _commit(setup, "dispatch"),
    "hold": lambda setup: _commit(setup, "hold"),
    "skip": lambda setup: _commit(setup, "skip"),
    "enqueue": lambda setup: setup.store.enqueue(run(setup.of, "new")),
    "claim": lambda setup: _claim(setup, OTHER, None),
    "reclaim": lambda setup: _claim(setup, WORKER, []),
    "extend": _extend,
    "settle": lambda setup: _settle(setup, Succeeded()),
    "retry": lambda setup: _settle(setup, Retried(HOUR)),
    "release": lambda setup: _release(setup, later=False),
    "postpone": lambda setup: _release(setup, later=True),
    "reap": _reap,
    "cancel": lambda setup: _cancel(setup, None if setup.claim is None else setup.claim.run.id),
    "cancel the other": lambda setup: _cancel(setup, None if setup.asked is None else setup.asked.id),
    "promote": lambda setup: setup.store.queue.promote([setup.of.key]),
    "resign": lambda setup: setup.store.leadership.resign(setup.term),
    "snapshot": _snapshot,
    "read the agenda": _agenda,
    "load": _load,
}

READS = frozenset({"snapshot", "read the agenda", "load"})

SETUPS: dict[str, tuple[Callable[[Store], Awaitable[TaskSetup]], tuple[str, ...]]] = {
    "idle": (
        idle,
        (
            *("describe", "replan", "remove", "retire", "pause", "dispatch", "skip", "enqueue", "resign"),
            *("read the agenda", "load"),
        ),
    ),
    "busy": (
        busy,
        (
            *("describe", "replan", "remove", "retire", "pause", "clear", "hold", "skip", "enqueue", "claim"),
            *("reclaim", "extend", "settle", "release", "reap", "cancel", "cancel the other", "snapshot"),
        ),
    ),
    "crowded": (
        crowded,
        (
            *("describe", "replan", "remove", "resume", "clear", "dispatch", "enqueue", "claim", "extend", "retry"),
            *("postpone", "cancel", "cancel the other", "promote", "snapshot", "read the agenda"),
        ),
    ),
}
"""For each kind of setup: the function that makes it, and the verbs that have an effect in it."""


class BackendPairs(Contract):
    @law("backend", 4)
    @pytest.mark.parametrize(("kind", "first"), [(kind, verb) for kind, (_, verbs) in SETUPS.items() for verb in verbs])
    async def test_of_two_verbs_one_comes_before_the_other(self, store: Store, kind: str, first: str) -> None:
        """A verb is one step for each item of its batch: of two verbs at the same time, one has its whole effect before
        the other."""
        begin, verbs = SETUPS[kind]
        for second in verbs[verbs.index(first) :]:
            if {first, second} <= READS:
                continue
            one, other = VERBS[first], VERBS[second]
            orders = [await _run_in_order(begin, store, one, other)]
            orders.append(_swapped(await _run_in_order(begin, store, other, one)))
            for swapped in (False, True)[: len({first, second})]:
                for offset in store.start_offsets():
                    setup = await begin(store)
                    if swapped:
                        answers = (await store.interleave(other(setup), one(setup), offset))[::-1]
                    else:
                        answers = await store.interleave(one(setup), other(setup), offset)
                    found = (*answers, await setup.observe())
                    await store.catalogue.remove([setup.of.key])
                    outer, inner = (second, first) if swapped else (first, second)
                    assert found in orders, f"{inner} during {outer}, {offset}"


OrderResult: TypeAlias = tuple[object, object, object]


async def _run_in_order(
    begin: Callable[[Store], Awaitable[TaskSetup]], store: Store, first: Ask, second: Ask
) -> OrderResult:
    """The answers of one verb after the other, and the state afterwards."""
    setup = await begin(store)
    played = await first(setup), await second(setup), await setup.observe()
    await store.catalogue.remove([setup.of.key])
    return played


def _swapped(played: OrderResult) -> OrderResult:
    first, second, left = played
    return second, first, left
