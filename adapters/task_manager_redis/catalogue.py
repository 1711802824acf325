"""The catalogue in Redis: a hash for each task, and a stream of changes for readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import NextSlot, Skipped
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import Catalogue, Changes, Conflict, DefinitionWrite, codec
from task_manager_core.ports.codec import milliseconds
from task_manager_redis.batches import BYTES_PER_SCRIPT, TASKS_PER_SCRIPT, batches, in_order
from task_manager_redis.client import RedisClient
from task_manager_redis.driver import Argument
from task_manager_redis.keys import decode_task, encode_task
from task_manager_redis.replies import items, number, numbers, row, text, texts
from task_manager_redis.scripts import Script, script
from task_manager_redis.sweeping import sweep
from task_manager_redis.unreadable import UnreadableValues

_PUT = script("put")
_REMOVE = script("remove")
_REMOVE_ENDED = script("remove_ended")
_LOAD = script("load")
_RETIRE = script("retire")


class RedisCatalogue(Catalogue):
    def __init__(self, client: RedisClient, unreadable: UnreadableValues) -> None:
        self._client = client
        self._unreadable = unreadable

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        found = await in_order(batches(definitions, TASKS_PER_SCRIPT, _definition_arguments), self._put)
        return tuple(answer for answers in found for answer in answers)

    async def _put(self, batch: tuple[object, Sequence[Argument]]) -> list[int | Conflict]:
        found = numbers(await self._client.run(_PUT, *batch[1]))
        return [answer if answer >= 0 else Conflict(-1 - answer) for answer in found]

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        removed = await run_for_tasks(self._client, _REMOVE, keys)
        if removed:
            await sweep(self._client)
        return removed

    async def remove_ended(self, term: Term, versions: Mapping[TaskKey, int]) -> frozenset[TaskKey] | Fenced:
        removed: set[TaskKey] = set()
        # Ask also without tasks: the answer says whether the term is over.
        steps = batches(versions.items(), TASKS_PER_SCRIPT, _version_arguments) if versions else (((), ()),)
        for _, arguments in steps:
            reply = await self._client.run(_REMOVE_ENDED, term.holder.value, term.token, *arguments)
            if reply is None:
                return Fenced()
            removed.update(map(decode_task, texts(reply)))
        if removed:
            await sweep(self._client)
        return frozenset(removed)

    async def load(self, since: int) -> Changes | None:
        """Read page by page. A task that changes in the meantime comes again in a later page, which replaces the
        earlier one. If the store loses everything between two pages, the reading begins again.

        While nothing changes, this is one plain command. No two versions are equal, so the version alone tells whether
        anything has changed."""
        if since > 0 and await self._client.value("version") == str(since):
            return None
        found, complete, known_incarnation = _Rows(), False, 0
        read_to, task_score = "", ""
        while True:
            reply = await self._client.run(
                _LOAD, 0 if complete else since, read_to, task_score, TASKS_PER_SCRIPT, BYTES_PER_SCRIPT
            )
            if reply is None:
                return None
            version, incarnation, everything, next_read_to, next_score, last, total, rows = row(reply, 8)
            if read_to and number(incarnation) != known_incarnation:
                found, complete, read_to, task_score = _Rows(), False, "", ""
                continue
            complete, known_incarnation = complete or everything == 1, number(incarnation)
            read_to, task_score = str(number(next_read_to)), text(next_score)
            for task in items(rows):
                name, body, at, retired = row(task, 4)
                key = self._task_key(text(name))
                if key is not None:
                    found.add(key, None if body is None else text(body), text(at), retired=retired == 1)
            if last == 1:
                return Changes(
                    version=number(version),
                    incarnation=number(incarnation),
                    complete=complete,
                    changed=tuple(sorted(found.changed.values(), key=lambda stored: stored.version)),
                    removed=frozenset() if complete else frozenset(found.removed),
                    retired=frozenset(found.retired),
                    unreadable=frozenset(found.unreadable),
                    total=number(total),
                )

    def _task_key(self, name: str) -> TaskKey | None:
        """The key of a task; None if the text is no key."""
        try:
            return decode_task(name)
        except BackendCorrupt as error:
            self._unreadable.add_once(error)
            return None

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        retired: set[TaskKey] = set()
        # Ask also without keys: the answer says whether the term is over.
        for _, names in batches(keys, TASKS_PER_SCRIPT, task_argument) if keys else (((), ()),):
            reply = await self._client.run(_RETIRE, term.holder.value, term.token, *names)
            if reply is None:
                return Fenced()
            retired.update(map(decode_task, texts(reply)))
        return frozenset(retired)


class _Rows:
    """The rows of all pages of a reading. A row replaces an earlier row of the same task."""

    def __init__(self) -> None:
        self.changed: dict[TaskKey, VersionedDefinition] = {}
        self.removed: set[TaskKey] = set()
        self.retired: set[TaskKey] = set()
        self.unreadable: set[TaskKey] = set()

    def add(self, key: TaskKey, body: str | None, version: str, *, retired: bool) -> None:
        if not version:
            self.changed.pop(key, None)
            for known in (self.retired, self.unreadable):
                known.discard(key)
            self.removed.add(key)
            return
        self.removed.discard(key)
        (self.retired.add if retired else self.retired.discard)(key)
        if body is None:
            return  # The reader knows the definition, or an earlier page held it.
        try:
            self.changed[key] = VersionedDefinition(definition=codec.decode_task(body), version=number(version))
            self.unreadable.discard(key)
        except BackendCorrupt:
            self.changed.pop(key, None)
            self.unreadable.add(key)


def _definition_arguments(definition: DefinitionWrite) -> list[Argument]:
    """One definition as arguments of the script put. Its short values are one argument: the client packs each argument
    for itself."""
    skipped = definition.skipped
    slot, due = next_slot_arguments(definition.next_slot)
    first = milliseconds(skipped[0].first) if skipped else ""
    return [
        encode_task(definition.definition.key),
        f"{definition.expected},{int(definition.replan)},{slot},{due},{first},{len(skipped)}",
        codec.encode_task(definition.definition),
        *skip_arguments(skipped),
    ]


def _version_arguments(task: tuple[TaskKey, int]) -> tuple[Argument, ...]:
    key, version = task
    return encode_task(key), version


def task_argument(key: TaskKey) -> tuple[Argument]:
    return (encode_task(key),)


async def run_for_tasks(client: RedisClient, verb: Script, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
    """Run a script whose arguments and answer are tasks, in batches. Returns the tasks of all answers."""
    named: set[TaskKey] = set()
    for _, names in batches(keys, TASKS_PER_SCRIPT, task_argument):
        named.update(map(decode_task, texts(await client.run(verb, *names))))
    return frozenset(named)


def next_slot_arguments(next_slot: NextSlot | None) -> tuple[Argument, Argument]:
    return ("", "") if next_slot is None else (milliseconds(next_slot.slot), milliseconds(next_slot.due_at))


def skip_arguments(skipped: Sequence[Skipped]) -> list[Argument]:
    return [part for skip in skipped for part in (skip.reason.value, skip.count, codec.encode_skipped(skip))]
