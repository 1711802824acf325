"""Sequences of verbs as data. A test draws a sequence, runs it on a store, and shows it if the test fails.

A `Step` is a verb and three small numbers. A `StepRunner` turns the numbers and the earlier answers of its store into
the arguments of the verb. The time moves by whole units, and every instant in an argument lies `HALF` a unit away from
that. So a store whose time runs by itself answers like a store whose time stands still, also on a busy machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Fenced, LeaderSign, Term
from task_manager_core.domain.planning import SkipReason, SlotDecision
from task_manager_core.domain.policy import Overlap, Priority
from task_manager_core.domain.run import (
    Cancelled,
    Claim,
    Exhausted,
    Expired,
    Outcome,
    Retried,
    Run,
    RunState,
    Succeeded,
)
from task_manager_core.domain.task import TaskDefinition, canonical_kwargs
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.conformance.factories import (
    DAY,
    MINUTE,
    NOTHING,
    SECOND,
    decision,
    definition,
    presence,
    run,
    scopes_of_one_queue,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.store import Store

HALF = MINUTE
UNIT = 2 * HALF

NODES = tuple(NodeId(f"node {number}") for number in range(3))
TASKS = (
    replace(task("allow"), timeout=HALF),
    task("buffer", overlap=Overlap.BUFFER_ONE, priority=Priority.HIGH),
    task("skip:{it}", "group:", overlap=Overlap.SKIP),
    task("it}", "group::skip:{", priority=Priority.HIGH),
    replace(task("two", queue="other"), max_instances=2),
)
KEYS = tuple(of.key for of in TASKS)
SCOPES = scopes_of_one_queue(KEYS)


class Verb(Enum):
    ADVANCE = "advance"
    SET_BACK = "set back"
    CAMPAIGN = "campaign"
    RENEW = "renew"
    RESIGN = "resign"
    OBSERVE = "observe"
    DEPOSE = "depose"
    PUT = "put"
    REMOVE = "remove"
    RETIRE = "retire"
    PAUSE = "pause"
    RESUME = "resume"
    COMMIT = "commit"
    ENQUEUE = "enqueue"
    CLAIM = "claim"
    RECLAIM = "reclaim"
    EXTEND = "extend"
    SETTLE = "settle"
    RELEASE = "release"
    REAP = "reap"
    CANCEL = "cancel"
    PROMOTE = "promote"
    CLEAR = "clear"
    ANNOUNCE = "announce"
    DEPART = "depart"


REPEATABLE = frozenset(Verb) - {Verb.ADVANCE, Verb.SET_BACK, Verb.CLAIM, Verb.RECLAIM}
"""The verbs that change nothing more when they are repeated. Each call of the others has a new effect."""


Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Step:
    """`who` chooses the node, `what` the task and `how` the other arguments, each modulo the number of choices."""

    verb: Verb
    who: int = 0
    what: int = 0
    how: int = 0


SETUP_STEPS = (
    *(Step(Verb.PUT, 0, what, 1) for what in (0, 1, 2, 4)),
    Step(Verb.CAMPAIGN, 0, 0, 3),
)
"""The first steps of each sequence. Most verbs have no effect without tasks and a leader."""


VERB_MIX = (*Verb, *(Verb.ADVANCE, Verb.ENQUEUE, Verb.COMMIT, Verb.CLAIM, Verb.SETTLE) * 3, Verb.CAMPAIGN, Verb.RELEASE)
"""The verbs. Those that move runs are more frequent."""

NUMBERS = (12, 12, 60)
"""The number of different values of `who`, `what` and `how`."""


def random_steps(decider: Decider, count: int) -> Iterator[Step]:
    """Random steps."""
    for _ in range(count):
        yield Step(decider.pick(VERB_MIX), *(decider.choose(number) for number in NUMBERS))


class StepRunner:
    """Runs steps on one store, and remembers its claims and terms, also those that are over.

    `settable` says whether the clock of this store can be set back.
    """

    def __init__(self, store: Store, origin: datetime, *, settable: bool) -> None:
        self.store = store
        self.origin = origin
        self.settable = settable
        self.elapsed = NOTHING
        self.claims: list[Claim] = []
        self.terms: list[Term] = []
        self.seen: LeaderSign | None = None

    # -- arguments ----------------------------------------------------------------------------------------------------

    def term(self, number: int) -> Term:
        """A term: the newest one for most numbers, an older one for some."""
        if not self.terms:
            return Term(NODES[0], 1)
        return self.terms[-1] if number % 4 else self.terms[number // 4 % len(self.terms)]

    def claim(self, number: int) -> Claim | None:
        """A claim: a new one for small numbers, an older one for large numbers."""
        return self.claims[-1 - number % len(self.claims)] if self.claims else None

    def ttl(self, number: int) -> timedelta:
        return UNIT * (number % 4 + 1) + HALF

    async def version(self, key: TaskKey) -> tuple[int, datetime | None]:
        """The version and the next slot of a task; 0 if there is no such task."""
        views = (await self.store.history.snapshot([key])).tasks
        if not views:
            return 0, None
        return views[0].version, None if views[0].next_slot is None else views[0].next_slot.slot

    # -- verbs --------------------------------------------------------------------------------------------------------

    async def run_step(self, step: Step) -> object:
        """Run a step. The answer has a form in which the answers of two stores can be compared."""
        return await (await self.prepare(step))()

    async def prepare(self, step: Step) -> Ask:
        """The verb with its arguments, as a function: a test calls it once, or again as if the answer was lost."""
        return await _PREPARED_BY[step.verb](self, step)

    async def prepare_advance(self, step: Step) -> Ask:
        delta = DAY + 60 * UNIT if step.how % 12 == 11 else UNIT * (step.how % 6)
        self.elapsed += delta
        return lambda: self.store.advance(delta)

    async def prepare_set_back(self, step: Step) -> Ask:
        delta = UNIT * (step.how % 6)
        if not self.settable:
            return self.store.let_waiters_listen
        self.elapsed -= delta
        return lambda: self.store.set_back(delta)

    async def prepare_leadership(self, step: Step) -> Ask:
        leadership, ttl, term = self.store.leadership, self.ttl(step.how), self.term(step.who)
        if step.verb is Verb.RENEW:
            return lambda: leadership.renew(term, ttl)
        if step.verb is Verb.RESIGN:
            return lambda: leadership.resign(term)

        if step.verb is Verb.OBSERVE:
            return self.observe
        seen = self.seen or await leadership.observe()

        async def ask() -> object:
            candidate, lease = NODES[step.who % len(NODES)], 10 * ttl + HALF
            if step.verb is Verb.DEPOSE:
                answer = await leadership.depose(candidate, lease, seen)
            else:
                answer = await leadership.campaign(candidate, lease)
            if not isinstance(answer, Term):
                return answer.holder
            if answer not in self.terms:
                assert all(term.token < answer.token for term in self.terms), "tokens strictly increase"
                self.terms.append(answer)
            return self.terms.index(answer)

        return ask

    async def observe(self) -> object:
        self.seen = sign = await self.store.leadership.observe()
        due = None if sign.first_due is None else sign.first_due - self.origin
        return None if sign.term is None else self.terms.index(sign.term), due

    async def prepare_definition(self, step: Step) -> Ask:
        of, term = TASKS[step.what % len(TASKS)], self.term(step.who)
        if step.verb is Verb.REMOVE:
            return lambda: self.store.catalogue.remove([of.key])
        if step.verb is Verb.RETIRE:
            return lambda: self.store.catalogue.retire(term, [of.key])
        version, slot = await self.version(of.key)
        next_slot = self.origin + self.elapsed + UNIT * (step.how % 5 - 2) + HALF
        change = definition(
            replace(of, description=f"{step.how % 3}"),
            expected=max(0, version - (step.how % 7 == 6)),
            slot=None if step.how % 11 == 10 else next_slot,
            jitter=UNIT * (step.how % 9 == 7),
            replan=version == 0 or step.how % 2 == 1,
            skips=[skipped(slot)] if slot is not None and step.how % 8 == 5 else [],
        )

        async def put() -> object:
            [answer] = await self.store.catalogue.put([change])
            if not isinstance(answer, int):
                return "conflict"
            assert answer >= version, "versions strictly increase over all tasks of the store"
            return "written" if answer > version else "stands"

        return put

    async def prepare_commit(self, step: Step) -> Ask:
        of, term = TASKS[step.what % len(TASKS)], self.term(step.who)
        version, slot = await self.version(of.key)
        one = self.decision(of, version, self.origin + HALF if slot is None else slot, step.how)
        return lambda: self.store.dispatch.commit(term, [one])

    def decision(self, of: TaskDefinition, version: int, slot: datetime, how: int) -> SlotDecision:
        """A decision about up to three slots, which may be out of date."""
        first, second, third = (of.run_of_slot(slot + number * SECOND, version) for number in range(3))
        dispatched: Sequence[Run] = ()
        hold: Run | None = None
        match how % 6:
            case 0 | 1:
                dispatched = (first,)
            case 2:
                dispatched, hold = (first,), second
            case 3:
                hold = first
            case 4:
                dispatched = (first,) if of.overlap is not Overlap.ALLOW else (first, second, third)
            case _:
                pass
        return decision(
            of,
            version - (how % 13 == 12),
            slot + SECOND * (how % 11 == 10),
            dispatch=dispatched,
            hold=hold if of.overlap is not Overlap.ALLOW else None,
            skips=[skipped(slot + 4 * SECOND, reason=[*SkipReason][how % 4])] if how % 3 == 2 or how % 6 == 5 else [],
            then=None if how % 17 == 16 else slot + UNIT,
            jitter=UNIT * (how % 5 == 4),
        )

    async def prepare_task_verb(self, step: Step) -> Ask:
        keys = KEYS if step.how % 4 == 3 else [KEYS[step.what % len(KEYS)]]
        if step.verb is Verb.PAUSE:
            return lambda: self.store.dispatch.pause(keys)
        if step.verb is Verb.RESUME:
            return lambda: self.store.dispatch.resume(keys)
        if step.verb is Verb.CLEAR:
            return lambda: self.store.history.clear(keys)
        promoted = await self._keys_with_one_waiting_run(keys)
        return lambda: self.store.queue.promote(promoted)

    async def _keys_with_one_waiting_run(self, keys: Collection[TaskKey]) -> list[TaskKey]:
        """Tasks with at most one waiting run in total: no law orders several runs that are promoted at once."""
        chosen: list[TaskKey] = []
        waiting = 0
        for view in (await self.store.history.snapshot(keys)).tasks:
            more = sum(live.state is RunState.WAITING for live in view.live)
            if waiting + more <= 1:
                waiting += more
                chosen.append(view.key)
        return chosen

    async def prepare_request(self, step: Step) -> Ask:
        of = TASKS[step.what % len(TASKS)]
        if step.verb is Verb.ENQUEUE:
            name, tasks = f"{step.who % 3} {step.how // 2}", (of, of, TASKS[step.who % len(TASKS)])
            runs = [run(one, name, kwargs=canonical_kwargs({"number": step.how})) for one in tasks]
            return lambda: self.store.queue.enqueue(runs, str(step.how % 2))
        views = (await self.store.history.snapshot([of.key])).tasks
        live = sorted(live.run for view in views for live in view.live)
        chosen = live[step.how % len(live)] if live else run(of, "unknown").id
        return lambda: self.store.queue.cancel([(of.key, chosen)])

    async def prepare_claim(self, step: Step) -> Ask:
        worker, queue, term = NODES[step.who % len(NODES)], self.store.queue, self.term(step.who)
        known = [claim for claim in self.claims if claim.worker == worker][step.how % 3 :]

        async def reap() -> object:
            reaped = await queue.reap(term, self.ttl(step.how), 1000)
            return reaped if isinstance(reaped, Fenced) else sorted(map(comparable_claim, reaped))

        async def claim() -> object:
            return self._remember(await queue.claim(worker, step.how % 4, NOTHING, scope=SCOPES[step.how // 4 % 4]))

        async def reclaim() -> object:
            claims = await queue.claim(worker, 1000, NOTHING, known)
            return self._remember(sorted(claims, key=lambda claim: (claim.run.id, claim.attempt)))

        return {Verb.REAP: reap, Verb.CLAIM: claim, Verb.RECLAIM: reclaim}[step.verb]

    def _remember(self, claims: Sequence[Claim]) -> object:
        for claim in claims:
            if claim not in self.claims:
                older = [other.token for other in self.claims if other.run.id == claim.run.id]
                assert all(token < claim.token for token in older), "fencing tokens strictly increase within a run"
                self.claims.append(claim)
        return [comparable_claim(claim) for claim in claims]

    async def prepare_claim_verb(self, step: Step) -> Ask:
        claim, queue, ttl = self.claim(step.what), self.store.queue, self.ttl(step.how)
        chosen = [] if claim is None else [claim]

        async def extend() -> object:
            mine = [one for one in self.claims if one.worker == NODES[step.who % len(NODES)]]
            extension = await queue.extend(mine, ttl)
            return sorted(map(comparable_claim, extension.lost)), sorted(map(comparable_claim, extension.cancelling))

        async def release() -> object:
            delay = NOTHING if step.how % 3 == 0 else ttl
            return sorted(map(comparable_claim, await queue.release(chosen, delay, started=step.how % 2 == 1)))

        async def settle() -> object:
            outcomes: list[Outcome] = [Succeeded(), Retried(ttl), Exhausted(), Retried(NOTHING), Cancelled(), Expired()]
            settled = [settlement(claim, outcomes[step.how % len(outcomes)]) for claim in chosen]
            return sorted(map(comparable_claim, await queue.settle(settled)))

        return {Verb.EXTEND: extend, Verb.RELEASE: release, Verb.SETTLE: settle}[step.verb]

    async def prepare_membership(self, step: Step) -> Ask:
        node, membership = NODES[step.who % len(NODES)], self.store.membership
        if step.verb is Verb.DEPART:
            return lambda: membership.depart(node)
        return lambda: membership.announce(presence(node.value), self.ttl(step.how))

    # -- conservation -------------------------------------------------------------------------------------------------

    async def drain(self) -> list[Run]:
        """Claim and settle every live run, as a cluster does. Returns the runs in the order of their ends."""
        ended: list[Run] = []
        while True:
            await self.store.queue.promote(KEYS)
            claims = [
                claim
                for worker in (*NODES, NodeId("drain"))
                for claim in await self.store.queue.claim(worker, 1000, NOTHING, known=())
            ]
            if not claims:
                return ended
            assert not await self.store.queue.settle([settlement(claim) for claim in claims])
            ended += [claim.run for claim in claims]


_PREPARED_BY: dict[Verb, Callable[[StepRunner, Step], Awaitable[Ask]]] = {
    verb: prepare
    for verbs, prepare in (
        ((Verb.ADVANCE,), StepRunner.prepare_advance),
        ((Verb.SET_BACK,), StepRunner.prepare_set_back),
        ((Verb.CAMPAIGN, Verb.RENEW, Verb.RESIGN, Verb.OBSERVE, Verb.DEPOSE), StepRunner.prepare_leadership),
        ((Verb.PUT, Verb.REMOVE, Verb.RETIRE), StepRunner.prepare_definition),
        ((Verb.COMMIT,), StepRunner.prepare_commit),
        ((Verb.PAUSE, Verb.RESUME, Verb.CLEAR, Verb.PROMOTE), StepRunner.prepare_task_verb),
        ((Verb.ENQUEUE, Verb.CANCEL), StepRunner.prepare_request),
        ((Verb.CLAIM, Verb.RECLAIM, Verb.REAP), StepRunner.prepare_claim),
        ((Verb.EXTEND, Verb.SETTLE, Verb.RELEASE), StepRunner.prepare_claim_verb),
        ((Verb.ANNOUNCE, Verb.DEPART), StepRunner.prepare_membership),
    )
    for verb in verbs
}


def comparable_claim(claim: Claim) -> tuple[str, int, int, int, str, str]:
    """A claim without its token and without the version of its run: every store chooses these itself."""
    run = replace(claim.run, version=0)
    return run.id.value, claim.attempt, claim.failures, claim.losses, claim.worker.value, str(run)
