"""The use cases behind the management API: list, pause, resume, trigger, add, change, remove.

A request for many tasks costs the same number of round trips as a request for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakValueDictionary

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.definitions import Definitions
from task_manager_core.application.inspection import Inspection
from task_manager_core.application.overviews import Overviews
from task_manager_core.application.registrar import Registrar, changed_definition
from task_manager_core.application.requested_runs import RequestedRuns
from task_manager_core.domain.coverage import Uncovered, find_uncovered
from task_manager_core.domain.errors import (
    BackendUnavailable,
    DuplicateTask,
    InvalidPolicy,
    TaskIsStatic,
    TaskNotFound,
    UnknownFunction,
    VersionConflict,
)
from task_manager_core.domain.explain import Explanation, explain
from task_manager_core.domain.identity import FunctionKey, RunId, TaskKey
from task_manager_core.domain.observation import LiveRun, Snapshot, TaskView
from task_manager_core.domain.planning import NextSlot, Skipped, first_slot
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.recurrence import At
from task_manager_core.domain.run import AttemptRecord, RunState
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import (
    REQUEST_MEMORY,
    Backend,
    Cancelling,
    Conflict,
    DefinitionWrite,
    Enqueued,
)

CHANGE_ATTEMPTS = 5
"""A change is read and written again if the leader decides about a slot in between: at most so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects tasks. A task must match every filter that is not None, and carry the tag."""

    group: str | None = None
    name: str | None = None
    tag: str | None = None

    def matches(self, task: TaskDefinition) -> bool:
        return (
            (self.group is None or task.key.group == self.group)
            and (self.name is None or task.key.name == self.name)
            and (self.tag is None or self.tag in task.tags)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """A definition with its state. `version` is the version of the definition; `view` may be newer."""

    definition: TaskDefinition
    version: int
    view: TaskView


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """The run that a trigger requested, and the answer of the store."""

    key: TaskKey
    run: RunId
    enqueued: Enqueued


class Control:
    """The use cases behind the management API."""

    def __init__(
        self, *, backend: Backend, declarations: Declarations, definitions: Definitions, registrar: Registrar
    ) -> None:
        self._backend = backend
        self._declarations = declarations
        self._definitions = definitions
        self._registrar = registrar
        self.requested_runs = RequestedRuns(backend=backend, declarations=declarations)
        self.overviews = Overviews(history=backend.history, definition=self.definition)
        self.inspection = Inspection(backend=backend, definition=self.definition)
        self._adding: WeakValueDictionary[TaskKey, asyncio.Lock] = WeakValueDictionary()

    def select(self, selection: Selection) -> tuple[VersionedDefinition, ...]:
        """The definitions that match, as this node knows them. Errors: BackendUnavailable before the node has read the
        store."""
        found = self._loaded().named(selection.group, selection.name)
        return tuple(stored for stored in found if selection.matches(stored.definition))

    def scheduled(self, selection: Selection) -> tuple[VersionedDefinition, ...]:
        """The same without the retired tasks."""
        return tuple(one for one in self.select(selection) if not self._definitions.is_retired(one.definition.key))

    def definition(self, key: TaskKey) -> VersionedDefinition:
        """The definition of a task. Errors: TaskNotFound; BackendUnavailable as for `select`."""
        stored = self._loaded().get(key)
        if stored is None:
            raise TaskNotFound(key.group, key.name)
        return stored

    async def current(self, key: TaskKey) -> VersionedDefinition:
        """The definition that the store holds now, after the pending changes of this node. Errors: as for
        `definition`."""
        await self._registrar.flush(key)
        await self._registrar.refresh()
        return self.definition(key)

    async def list_tasks(self, selected: Iterable[VersionedDefinition]) -> tuple[tuple[TaskStatus, ...], Snapshot]:
        """Selected tasks with their state, and the snapshot that shows it."""
        known = {stored.definition.key: stored for stored in selected}
        snapshot = await self._backend.history.snapshot(list(known))
        statuses = tuple(
            TaskStatus(definition=known[view.key].definition, version=known[view.key].version, view=view)
            for view in snapshot.tasks
        )
        return statuses, snapshot

    async def explain(self, key: TaskKey) -> Explanation:
        """Why the task runs next when it does, or does not run. Errors: TaskNotFound."""
        stored = self.definition(key)
        snapshot = await self._backend.history.snapshot([key])
        if not snapshot.tasks:
            raise TaskNotFound(key.group, key.name)
        return explain(stored.definition, snapshot.tasks[0], snapshot)

    async def uncovered(self) -> Uncovered:
        """The work that no living process does. Errors: BackendUnavailable as for `select`."""
        known = self._loaded()
        snapshot = await self._backend.history.snapshot(())
        stored = [one.definition for one in known if not known.is_retired(one.definition.key)]
        return find_uncovered(stored, snapshot)

    def queues(self) -> frozenset[str]:
        """The queues that tasks name. Errors: BackendUnavailable as for `select`."""
        return frozenset(one.definition.queue for one in self._loaded())

    async def history(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        """The newest attempts of a task. Errors: TaskNotFound."""
        self.definition(key)
        return await self._backend.history.read(key, limit)

    async def live_runs(self, key: TaskKey, limit: int) -> tuple[tuple[tuple[LiveRun, Progress | None], ...], int]:
        """The first live runs of a task, each with the last report of its attempt, and how many there are. Errors:
        TaskNotFound."""
        self.definition(key)
        tasks = (await self._backend.history.snapshot([key])).tasks
        live = tasks[0].live if tasks else ()
        shown = sorted(live, key=lambda run: run.state is not RunState.RUNNING)[:limit]
        running = [(key, run.run) for run in shown if run.state is RunState.RUNNING]
        reports = dict(zip(running, await self._backend.history.progress(running), strict=True)) if running else {}
        return tuple((run, reports.get((key, run.run))) for run in shown), len(live)

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        """The newest skips of a task. Errors: TaskNotFound."""
        self.definition(key)
        return await self._backend.history.skips(key, limit)

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found = await self._backend.dispatch.pause(keys)
        for key in found:
            self._definitions.note_pause(key, paused=True)
        return found

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found = await self._backend.dispatch.resume(keys)
        self._definitions.resumed(found)
        return found

    async def reset_retry(self, keys: Collection[TaskKey]) -> int:
        """End the backoffs of these tasks: waiting retries are queued at once. Returns the number of them."""
        return await self._backend.queue.promote(keys)

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        return await self._backend.history.clear(keys)

    async def trigger(
        self,
        keys: Collection[TaskKey],
        request: str,
        kwargs: Mapping[str, object] | None = None,
        memory: timedelta = REQUEST_MEMORY,
    ) -> tuple[Triggered, ...]:
        """Queue one run of each task and end its backoff. `kwargs` replace the arguments of the tasks for this run.

        A request id names the same run for as long as the store remembers it (`memory`). REPEAT_MEMORY is enough for an
        id that no caller will use again.

        Errors: InvalidArguments; RequestReused; TaskNotFound for a key that this node does not know.
        """
        stored = [self.definition(key) for key in keys]
        asked = await self.requested_runs.enqueue(stored, request, kwargs, memory=memory)
        # A worker may have started a run and failed by now. The backoff of that run stays.
        await self._backend.queue.promote(keys, [(run.task, run.id) for run, _ in asked])
        return tuple(Triggered(key=run.task, run=run.id, enqueued=answer) for run, answer in asked)

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        return await self._backend.queue.cancel(runs)

    async def add(self, task: TaskDefinition) -> VersionedDefinition:
        """Write a new dynamic task. Every node knows it within `refresh_interval`.

        Errors: UnknownFunction, InvalidArguments, DuplicateTask; DefinitionError for a name that looks like another;
        InvalidPolicy for a schedule without a slot to come.
        """
        task.check_names()
        self.validate(task)
        # A store that gets the same definition twice answers with its version. Equal requests take turns, so that the
        # second one finds the task and is refused.
        async with self._adding.setdefault(task.key, asyncio.Lock()):
            await self._registrar.flush(task.key)
            await self._registrar.refresh()
            if self._definitions.get(task.key) is not None:
                raise DuplicateTask(task.key.group, task.key.name)
            now = (await self._backend.dispatch.agenda(0)).now
            next_slot = _refuse_ended(task, first_slot(task, now))
            definition = DefinitionWrite(definition=task, expected=0, replan=True, next_slot=next_slot)
            (answer,) = await self._backend.catalogue.put([definition])
            if isinstance(answer, Conflict):
                raise DuplicateTask(task.key.group, task.key.name)
            await self._registrar.refresh()
            return VersionedDefinition(definition=task, version=answer)

    async def add_or_replace(self, task: TaskDefinition, *, replace: bool) -> VersionedDefinition:
        """Write a new dynamic task. If a dynamic task of its name exists, replace its definition, or keep it as it is.

        Errors: as for `add` and `change`; DuplicateTask if a static task has the name, or if other callers add, change
        and remove the task all the time.
        """
        for _ in range(CHANGE_ATTEMPTS):
            try:
                return await self.add(task)
            except DuplicateTask:
                pass
            try:
                stored = await self.current(task.key)
                if not stored.definition.dynamic:
                    break
                return await self.change(task, stored.version) if replace else stored
            except (TaskNotFound, VersionConflict):
                continue  # Another caller removed or changed it meanwhile.
        raise DuplicateTask(task.key.group, task.key.name)

    async def change(self, task: TaskDefinition, expected: int) -> VersionedDefinition:
        """Replace a definition. Its pause, history and live runs stay, and no slot is dispatched at once.

        Errors: UnknownFunction, InvalidArguments, TaskNotFound, VersionConflict; InvalidPolicy as for `add`.
        """
        self.validate(task)
        await self._registrar.refresh()
        stored = self.definition(task.key)
        for _ in range(CHANGE_ATTEMPTS):
            if stored.definition == task:
                return stored
            if stored.version != expected:
                break
            snapshot = await self._backend.history.snapshot([task.key])
            view = snapshot.tasks[0] if snapshot.tasks else None
            definition = await changed_definition(self._backend.dispatch, stored, task, view, snapshot.now)
            if definition.replan:
                _refuse_ended(task, definition.next_slot)
            (answer,) = await self._backend.catalogue.put([definition])
            await self._registrar.refresh()
            if not isinstance(answer, Conflict):
                return VersionedDefinition(definition=task, version=answer)
            stored = self.definition(task.key)
        raise VersionConflict(task.key.group, task.key.name, expected, stored.version)

    async def remove(self, key: TaskKey) -> VersionedDefinition:
        """Remove a dynamic task, or a static one that is retired, with all its state; the answer is the removed
        definition.

        Errors: TaskNotFound, TaskIsStatic.
        """
        stored = await self.current(key)
        if not stored.definition.dynamic and not self._definitions.is_retired(key):
            raise TaskIsStatic(key.group, key.name, "removed")
        if not await self._backend.catalogue.remove([key]):
            raise TaskNotFound(key.group, key.name)
        await self._registrar.refresh()
        return stored

    async def ping(self, within: float) -> None:
        """Send the store a request without effect. Errors: TimeoutError, and every error of the store."""
        async with asyncio.timeout(within):
            await self._backend.dispatch.agenda(0)

    def validate(self, task: TaskDefinition) -> None:
        """Refuse a dynamic task whose function is not registered or does not accept its arguments."""
        function = self._declarations.function(FunctionKey(task.key.group, task.function))
        if function is None:
            raise UnknownFunction(task.key.group, task.function)
        function.check_task(task)

    def _loaded(self) -> Definitions:
        if not self._definitions.loaded:
            raise BackendUnavailable("the definitions have not been read from it yet")
        return self._definitions


def _refuse_ended(task: TaskDefinition, next_slot: NextSlot | None) -> NextSlot | None:
    """Refuse a schedule that has ended. Code may keep such a declaration, but a request for it is a mistake."""
    if next_slot is None and task.schedule.rules:
        field = "run_at" if any(isinstance(rule, At) for rule in task.schedule.rules) else "end_at"
        raise InvalidPolicy(field, task.schedule.expression, "leaves no slot after now")
    return next_slot
