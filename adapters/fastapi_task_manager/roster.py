"""What the groups of one manager contain, translated for the core: here the words of code meet those of Config."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi_task_manager.options import Defaults
from fastapi_task_manager.task import Task, TaskFunction
from fastapi_task_manager.task_group import TaskGroup
from task_manager_core.application.definitions import Definitions
from task_manager_core.application.node import Node
from task_manager_core.application.registry import Registry
from task_manager_core.domain.errors import DuplicateGroup, GroupNotFound
from task_manager_core.domain.events import CatalogueChanged, Event
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.task import Task as CoreTask


class Roster:
    """Listens to its groups and, as an observer, to the store, so that both always tell the same story.

    Law: what code asks for reaches the store once. A dynamic task that was written there and removed by somebody else
    is not written again.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.registry = Registry()
        self._defaults = defaults
        self._groups: dict[str, TaskGroup] = {}
        self._added: dict[TaskKey, CoreTask] = {}
        self._wishes: dict[TaskKey, CoreTask | None] = {}
        self._node: Node | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def groups(self) -> list[TaskGroup]:
        return list(self._groups.values())

    def group(self, name: str) -> TaskGroup:
        """The group of this name. Errors: GroupNotFound."""
        found = self._groups.get(name)
        if found is None:
            raise GroupNotFound(name)
        return found

    def add(self, group: TaskGroup) -> None:
        """Take a group with everything in it, or nothing of it. Errors: DuplicateGroup, DefinitionError."""
        if group.name in self._groups:
            raise DuplicateGroup(group.name)
        self.check(group, group.tasks)
        self._groups[group.name] = group
        for name, function in group.function_registry.items():
            self.registered(group, name, function)
        for task in group.static_tasks:
            self.declared(group, task)
        for task in group.dynamic_tasks:
            self.added(group, task)
        group.attach(self)
        if self._node is not None:
            self._learn(self._node.definitions, [stored.task.key for stored in self._node.definitions])

    def translate(self, task: Task) -> CoreTask:
        """The definition of a task of one of our groups. Errors: DefinitionError."""
        return task.definition(self.group(task.group).defaults(self._defaults))

    # -- what a group tells -------------------------------------------------------------------------------------------

    def check(self, group: TaskGroup, tasks: Sequence[Task]) -> None:
        for task in tasks:
            task.definition(group.defaults(self._defaults))

    def declared(self, group: TaskGroup, task: Task) -> None:
        assert task.function is not None
        self.registry.declare(task.definition(group.defaults(self._defaults)), task.function)
        self._wake()

    def registered(self, group: TaskGroup, name: str, function: TaskFunction) -> None:
        self.registry.register(FunctionKey(group.name, name), function)
        self._wake()

    def added(self, group: TaskGroup, task: Task) -> None:
        definition = task.definition(group.defaults(self._defaults))
        self._added[definition.key] = definition
        self._want(definition.key, definition)

    def removed(self, group: TaskGroup, name: str) -> None:
        key = TaskKey(group.name, name)
        self._added.pop(key, None)
        self._want(key, None)

    # -- the life of a node -------------------------------------------------------------------------------------------

    def begin(self, node: Node, *, durable: bool) -> None:
        """A node is about to start: hand it what waits. A store that forgets gets everything again."""
        wishes = self._wishes if durable else {**self._added, **self._wishes}
        for group in self._groups.values():
            for task in group.dynamic_tasks:
                if TaskKey(group.name, task.name) not in wishes:
                    group.forget(task.name)
        for key, definition in wishes.items():
            node.registrar.want(key, definition)
        self._wishes = {}
        self._node, self._loop = node, asyncio.get_running_loop()

    def end(self, node: Node) -> None:
        """The node has stopped: keep what it did not get written."""
        if self._node is node:
            self._wishes = node.registrar.wants()
            self._node = self._loop = None

    def notice(self, event: Event) -> None:
        """An observer of the node: list what the store holds."""
        if isinstance(event, CatalogueChanged) and self._node is not None:
            self._learn(self._node.definitions, event.changed)
            self._forget(event.removed)

    def _learn(self, definitions: Definitions, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            stored, group = definitions.get(key), self._groups.get(key.group)
            if stored is None or group is None or self._is_wished(key):
                continue
            if not stored.task.dynamic:
                group.forget(key.name)
            elif self._added.get(key) != stored.task:
                group.learn(Task.of(stored.task, group.function_registry.get(stored.task.function)))

    def _forget(self, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            group = self._groups.get(key.group)
            if group is not None and not self._is_wished(key):
                self._added.pop(key, None)
                group.forget(key.name)

    def _is_wished(self, key: TaskKey) -> bool:
        return self._node is not None and key in self._node.registrar.wants()

    def _want(self, key: TaskKey, definition: CoreTask | None) -> None:
        """Ask the running node, from whatever thread, or remember the wish for the next one."""
        if self._node is None or self._loop is None:
            self._wishes[key] = definition
        else:
            self._loop.call_soon_threadsafe(self._node.registrar.want, key, definition)

    def _wake(self) -> None:
        if self._node is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._node.registrar.on_request)
