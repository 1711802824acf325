"""Dispatch in Redis: a sorted set of due instants, and a hash with the state of each task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Agenda, DueTask, SlotDecision
from task_manager_core.domain.run import Run
from task_manager_core.ports import Dispatch
from task_manager_core.ports.codec import encode_run, milliseconds
from task_manager_redis.batches import TASKS_PER_SCRIPT, Encoded, encoded, encoded_batches
from task_manager_redis.catalogue import next_slot_arguments, run_for_tasks, skip_arguments
from task_manager_redis.client import RedisClient
from task_manager_redis.driver import Argument
from task_manager_redis.keys import decode_task, encode_lane, encode_run_id, encode_task, for_display
from task_manager_redis.replies import Reply, items, moment, number, numbers, row, text
from task_manager_redis.scripts import script
from task_manager_redis.unreadable import UnreadableValues

_MILLISECOND = timedelta(milliseconds=1)
_MOST_ANTICIPATED = 10_000
_AGENDA = script("agenda")
_COMMIT = script("commit")
_PAUSE = script("pause")
_RESUME = script("resume")


class RedisDispatch(Dispatch):
    def __init__(self, client: RedisClient, unreadable: UnreadableValues) -> None:
        self._client = client
        self._unreadable = unreadable
        self._anticipated: dict[int, tuple[SlotDecision, Encoded]] = {}
        """The arguments of decisions that the leader will commit, by the identity of the decision."""

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        leader = () if term is None else (term.holder.value, term.token)
        asked = limit, skip, ahead // _MILLISECOND, *leader
        now, following, rows, anomalies, upcoming = row(await self._client.run(_AGENDA, *asked), 5)
        self._unreadable.add_anomalies(anomalies)
        read = [self._due(one) for one in items(rows)]
        due = tuple(one for one in read if one is not None)
        return Agenda(
            now=moment(now),
            due=due,
            next_due=None if following == "" else moment(following),
            unreadable=len(read) - len(due),
            upcoming=number(upcoming),
        )

    def _due(self, reply: Reply) -> DueTask | None:
        task, *state = row(reply, 9)
        name = text(task)
        return self._unreadable.read(
            lambda: f"the state of {for_display(name)}", lambda: _due(decode_task(name), state)
        )

    async def anticipate(self, decisions: Sequence[SlotDecision]) -> None:
        if not decisions or len(self._anticipated) >= _MOST_ANTICIPATED:
            self._anticipated.clear()
        for decision in decisions:
            self._anticipated[id(decision)] = decision, encoded(_decision(decision))

    def _encoded(self, decision: SlotDecision) -> Encoded:
        anticipated = self._anticipated.pop(id(decision), None)
        return encoded(_decision(decision)) if anticipated is None else anticipated[1]

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        kept: list[bool] = []
        # Ask also without decisions: the answer says whether the term is over.
        for _, arguments in encoded_batches(decisions, TASKS_PER_SCRIPT, self._encoded) if decisions else (((), ()),):
            reply = await self._client.run(_COMMIT, term.holder.value, term.token, *arguments)
            if reply is None:
                return Fenced()
            kept += [answer == 1 for answer in numbers(reply)]
        return tuple(kept)

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        return await run_for_tasks(self._client, _PAUSE, keys)

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        return await run_for_tasks(self._client, _RESUME, keys)


def _due(key: TaskKey, state: Sequence[Reply]) -> DueTask:
    version, slot, due_at, paused, resumed_at, live, held, retrying = state
    return DueTask(
        key=key,
        version=number(version),
        slot=moment(slot),
        due_at=moment(due_at),
        paused=paused == "1",
        resumed_at=None if resumed_at == "" else moment(resumed_at),
        live=number(live),
        held=number(held),
        retrying=number(retrying),
    )


def _decision(decision: SlotDecision) -> list[Argument]:
    """One decision as arguments of the script commit."""
    held, last = () if decision.hold is None else (decision.hold,), decision.last
    return [
        encode_task(decision.key),
        decision.version,
        milliseconds(decision.slot),
        *next_slot_arguments(decision.next_slot),
        "" if last is None else milliseconds(last),
        (decision.dispatch[0].live_limit or 0) if decision.dispatch else 0,
        len(decision.dispatch),
        len(held),
        len(decision.skipped),
        *(argument for run in (*decision.dispatch, *held) for argument in _run(run)),
        *skip_arguments(decision.skipped),
    ]


def _run(run: Run) -> tuple[Argument, Argument, Argument, Argument]:
    return encode_run_id(run.id), encode_lane(run.priority, run.queue), slot_argument(run), encode_run(run)


def slot_argument(run: Run) -> Argument:
    return "-" if run.slot is None else milliseconds(run.slot)
