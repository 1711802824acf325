"""Two verbs at the same time: what they answer and leave is what one after the other would.

No test says which verbs a store should fear. Each is begun, another one is asked amid it, and the answers and all that
the store shows afterwards must be those of one of the two orders, which are played as well. A record that was read,
waited upon and written back shows here, whatever the author takes it from.
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

Ask = Callable[["Scene"], Awaitable[object]]
"""Asks a verb; the answer is in a form that can be compared with that of another scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A task in a certain state, which no other task resembles but those of the same kind of scene.

    `claim` is held by a worker, `asked` is a run that nobody runs; both may be missing.
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
        """What a run is here, whatever its task is called."""
        return self.names.get(found, "unknown")

    def since(self, instant: datetime | None) -> int | None:
        """Minutes: a store whose time runs by itself does not get that far."""
        return None if instant is None else (instant - self.slot) // MINUTE

    def shown(self, claims: Collection[Claim]) -> object:
        return sorted((self.name(one.run.id), one.attempt, one.failures, one.losses, one.worker) for one in claims)

    def lived(self, live: LiveRun) -> object:
        place = live.state.value, str(live.worker), self.since(live.due_at), live.retrying, live.cancelling
        return self.name(live.run), live.attempt, live.failures, live.losses, place

    def stood(self, snapshot: Snapshot) -> object:
        tasks = [
            (
                view.version > self.version,
                None
                if view.next_slot is None
                else (self.since(view.next_slot.slot), self.since(view.next_slot.due_at)),
                (view.paused, view.resumed_at is not None, view.retired),
                sorted(map(self.lived, view.live), key=str),
                dict(view.skipped),
            )
            for view in snapshot.tasks
        ]
        return tasks, snapshot.queued, snapshot.term == self.term

    def planned(self, agenda: Agenda) -> object:
        due = [
            (self.since(one.slot), one.paused, one.resumed_at is not None, (one.live, one.held, one.retrying))
            for one in agenda.due
        ]
        return due, self.since(agenda.next_due)

    def learnt(self, changes: Changes | None) -> object:
        if changes is None:
            return None
        changed = [(stored.definition.description, stored.version > self.version) for stored in changes.changed]
        return changed, len(changes.keys), len(changes.removed), len(changes.retired)

    async def looked(self) -> object:
        """All that the store shows of the task, and what can be done with it."""
        store, key = self.store, self.of.key
        seen = (
            self.stood(await store.history.snapshot()),
            self.planned(await store.dispatch.agenda(10)),
            self.learnt(await store.catalogue.load(0)),
            [(self.name(line.run), line.attempt, line.status.value) for line in await store.records(key)],
            [(self.since(one.first), one.count, one.reason.value) for one in await store.history.skips(key, 10)],
            await _extend(self),
        )
        await store.queue.promote([key])
        return *seen, self.shown(await store.claim(OTHER)), self.shown(await store.queue.claim(WORKER, 9, NOTHING, []))


# -- scenes -----------------------------------------------------------------------------------------------------------

_NUMBERS = count()


async def _begun(store: Store, of: TaskDefinition) -> Scene:
    """A task with a due slot, a line, a skip, and a pause that has ended."""
    term, slot = await store.lead(), await store.slot(-MINUTE)
    lost = skipped(slot - HOUR, last=slot - 2 * MINUTE, count=59)
    [version] = await store.catalogue.put([definition(of, slot=slot, skips=[lost])])
    assert isinstance(version, int)
    assert await store.settle(await store.take(run(of, "settled")))
    await store.dispatch.pause([of.key])
    await store.dispatch.resume([of.key])
    names = {run(of, request).id: request for request in ("running", "held", "retried", "queued", "new")}
    names[of.run_of_slot(slot, version).id] = "of the slot"
    return Scene(store=store, term=term, of=of, version=version, slot=slot, names=names)


async def idle(store: Store) -> Scene:
    """Nothing lives."""
    return await _begun(store, exclusive(f"idle {next(_NUMBERS)}"))


async def busy(store: Store) -> Scene:
    """One exclusive run whose worker has been silent for long, and one that waits for it."""
    scene = await _begun(store, exclusive(f"busy {next(_NUMBERS)}"))
    claim, held = await store.take(run(scene.of, "running")), run(scene.of, "held")
    await store.enqueue(held)
    await store.advance(2 * TTL)
    return replace(scene, claim=claim, asked=held)


async def crowded(store: Store) -> Scene:
    """A retry waits, a run is queued, one runs, and the task is paused again."""
    scene = await _begun(store, task(f"crowded {next(_NUMBERS)}"))
    assert await store.settle(await store.take(run(scene.of, "retried")), Retried(HOUR))
    claim, queued = await store.take(run(scene.of, "running")), run(scene.of, "queued")
    await store.enqueue(queued)
    await store.dispatch.pause([scene.of.key])
    return replace(scene, claim=claim, asked=run(scene.of, "retried"))


# -- verbs ------------------------------------------------------------------------------------------------------------


async def _put(scene: Scene, *, replan: bool) -> object:
    changed = replace(scene.of, description="replanned" if replan else "described")
    one = definition(
        changed,
        expected=scene.version,
        replan=replan,
        slot=scene.slot + DAY,
        skips=[skipped(scene.slot)] if replan else [],
    )
    [answer] = await scene.store.catalogue.put([one])
    return "conflict" if isinstance(answer, Conflict) else answer > scene.version


async def _commit(scene: Scene, what: str) -> object:
    of, version, slot = scene.of, scene.version, scene.slot
    dispatched, then = of.run_of_slot(slot, version), slot + HOUR
    one = {
        "fire": decision(of, version, slot, fire=[dispatched], then=then),
        "hold": decision(of, version, slot, hold=dispatched, then=then),
        "skip": decision(of, version, slot, skips=[skipped(slot)], then=then),
    }[what]
    return await scene.store.dispatch.commit(scene.term, [one])


async def _extend(scene: Scene) -> object:
    extension = await scene.store.queue.extend(scene.claims, 10 * TTL)
    return len(extension.lost), len(extension.cancelling)


async def _settle(scene: Scene, outcome: Outcome) -> object:
    return len(await scene.store.queue.settle([settlement(claim, outcome) for claim in scene.claims]))


async def _reap(scene: Scene) -> object:
    reaped = await scene.store.queue.reap(scene.term, TTL, 10)
    return reaped if isinstance(reaped, Fenced) else scene.shown(reaped)


async def _retire(scene: Scene) -> object:
    retired = await scene.store.catalogue.retire(scene.term, [scene.of.key])
    return retired if isinstance(retired, Fenced) else len(retired)


async def _cancel(scene: Scene, wanted: RunId | None) -> object:
    return () if wanted is None else await scene.store.queue.cancel([(scene.of.key, wanted)])


async def _counted(answer: Awaitable[Collection[TaskKey]]) -> object:
    return len(await answer)


async def _claimed(scene: Scene, worker: NodeId, known: Collection[Claim] | None) -> object:
    return scene.shown(await scene.store.queue.claim(worker, 1, NOTHING, known))


async def _released(scene: Scene, *, later: bool) -> object:
    return len(await scene.store.queue.release(scene.claims, HOUR if later else NOTHING, started=True))


async def _looked_at(scene: Scene) -> object:
    return scene.stood(await scene.store.history.snapshot())


async def _agenda_of(scene: Scene) -> object:
    return scene.planned(await scene.store.dispatch.agenda(10))


async def _loaded(scene: Scene) -> object:
    return scene.learnt(await scene.store.catalogue.load(scene.version))


VERBS: dict[str, Ask] = {
    "describe": lambda scene: _put(scene, replan=False),
    "replan": lambda scene: _put(scene, replan=True),
    "remove": lambda scene: _counted(scene.store.catalogue.remove([scene.of.key])),
    "retire": _retire,
    "pause": lambda scene: _counted(scene.store.dispatch.pause([scene.of.key])),
    "resume": lambda scene: _counted(scene.store.dispatch.resume([scene.of.key])),
    "clear": lambda scene: _counted(scene.store.history.clear([scene.of.key])),
    "fire": lambda scene: _commit(scene, "fire"),
    "hold": lambda scene: _commit(scene, "hold"),
    "skip": lambda scene: _commit(scene, "skip"),
    "enqueue": lambda scene: scene.store.enqueue(run(scene.of, "new")),
    "claim": lambda scene: _claimed(scene, OTHER, None),
    "reclaim": lambda scene: _claimed(scene, WORKER, []),
    "extend": _extend,
    "settle": lambda scene: _settle(scene, Succeeded()),
    "retry": lambda scene: _settle(scene, Retried(HOUR)),
    "release": lambda scene: _released(scene, later=False),
    "put off": lambda scene: _released(scene, later=True),
    "reap": _reap,
    "cancel": lambda scene: _cancel(scene, None if scene.claim is None else scene.claim.run.id),
    "cancel the other": lambda scene: _cancel(scene, None if scene.asked is None else scene.asked.id),
    "promote": lambda scene: scene.store.queue.promote([scene.of.key]),
    "resign": lambda scene: scene.store.leadership.resign(scene.term),
    "look": _looked_at,
    "read the agenda": _agenda_of,
    "load": _loaded,
}

READS = frozenset({"look", "read the agenda", "load"})

STAGED: dict[str, tuple[Callable[[Store], Awaitable[Scene]], tuple[str, ...]]] = {
    "idle": (
        idle,
        (
            *("describe", "replan", "remove", "retire", "pause", "fire", "skip", "enqueue", "resign"),
            *("read the agenda", "load"),
        ),
    ),
    "busy": (
        busy,
        (
            *("describe", "replan", "remove", "retire", "pause", "clear", "hold", "skip", "enqueue", "claim"),
            *("reclaim", "extend", "settle", "release", "reap", "cancel", "cancel the other", "look"),
        ),
    ),
    "crowded": (
        crowded,
        (
            *("describe", "replan", "remove", "resume", "clear", "fire", "enqueue", "claim", "extend", "retry"),
            *("put off", "cancel", "cancel the other", "promote", "look", "read the agenda"),
        ),
    ),
}
"""How each scene begins, and the verbs that make a difference there."""


class BackendPairs(Contract):
    @law("backend", 4)
    @pytest.mark.parametrize(
        ("scene", "first"), [(scene, verb) for scene, (_, verbs) in STAGED.items() for verb in verbs]
    )
    async def test_of_two_verbs_one_comes_before_the_other(self, store: Store, scene: str, first: str) -> None:
        """A verb is one step for each item of its batch: of two at the same time, one has its whole effect before the
        other."""
        begin, verbs = STAGED[scene]
        for second in verbs[verbs.index(first) :]:
            if {first, second} <= READS:
                continue
            one, other = VERBS[first], VERBS[second]
            orders = [await _played(begin, store, one, other)]
            orders.append(_swapped(await _played(begin, store, other, one)))
            for swapped in (False, True)[: len({first, second})]:
                for moment in store.moments():
                    stage = await begin(store)
                    if swapped:
                        answers = (await store.amid(other(stage), one(stage), moment))[::-1]
                    else:
                        answers = await store.amid(one(stage), other(stage), moment)
                    found = (*answers, await stage.looked())
                    await store.catalogue.remove([stage.of.key])
                    began, came = (second, first) if swapped else (first, second)
                    assert found in orders, f"{came} amid {began}, {moment}"


Played: TypeAlias = tuple[object, object, object]


async def _played(begin: Callable[[Store], Awaitable[Scene]], store: Store, first: Ask, second: Ask) -> Played:
    """The answers of one verb after the other, and what they leave."""
    stage = await begin(store)
    played = await first(stage), await second(stage), await stage.looked()
    await store.catalogue.remove([stage.of.key])
    return played


def _swapped(played: Played) -> Played:
    first, second, left = played
    return second, first, left
