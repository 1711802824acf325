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
from task_manager_core.application.wishes import Wishes
from task_manager_core.domain.errors import DuplicateGroup, GroupNotFound
from task_manager_core.domain.events import CatalogueChanged, Event
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.task import TaskDefinition as CoreTask
from task_manager_core.domain.task import VersionedDefinition


class GroupRegistry:
    """Listens to its groups and, as an observer, to the store.

    Laws: what code asks for reaches the store once; a dynamic task that was written there and removed by somebody else
    is not written again. A group lists what the store told this process last, changed by what code has asked for since,
    and nothing else.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.registry = Registry()
        self._defaults = defaults
        self._groups: dict[str, TaskGroup] = {}
        self._added: dict[TaskKey, tuple[Task, CoreTask]] = {}
        self._wishes = Wishes()
        self._stored: dict[str, dict[str, Task]] = {}
        """The dynamic tasks that the store holds, as this process read it last: by group and name."""
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
            keys = [
                stored.definition.key for stored in self._node.definitions if stored.definition.key.group == group.name
            ]
            self._learn(self._node.definitions, keys)

    def translate(self, task: Task) -> CoreTask:
        """The definition of a task of one of our groups. Errors: DefinitionError."""
        return task.definition(self.group(task.group).defaults(self._defaults))

    def shown(self, stored: VersionedDefinition) -> Task:
        """A stored definition as its group shows it."""
        group = self._groups.get(stored.definition.key.group)
        return Task.of(stored, None if group is None else group.function_registry.get(stored.definition.function))

    # -- what a group tells -------------------------------------------------------------------------------------------

    def check(self, group: TaskGroup, tasks: Sequence[Task]) -> None:
        for task in tasks:
            task.definition(group.defaults(self._defaults))

    def declared(self, group: TaskGroup, task: Task) -> None:
        assert task.function is not None
        self.registry.declare(task.definition(group.defaults(self._defaults)), task.function)
        self._wake()

    def registered(self, group: TaskGroup, name: str, function: TaskFunction) -> None:
        self.registry.register(FunctionKey(group.name, name), function, named=group.is_named(name))
        self._wake()

    def added(self, group: TaskGroup, task: Task) -> None:
        definition = task.definition(group.defaults(self._defaults))
        self._added[definition.key] = (task, definition)
        self._wishes.add(definition)
        self._wake()

    def removed(self, group: TaskGroup, name: str) -> None:
        key = TaskKey(group.name, name)
        self._added.pop(key, None)
        self._wishes.remove(key)
        self._wake()

    def listed(self, group: TaskGroup) -> dict[str, Task]:
        tasks = dict(self._stored.get(group.name, {}))
        for key in self._wishes.unread():
            if key.group == group.name:
                task = self.find(group, key.name)
                if task is None:
                    tasks.pop(key.name, None)
                else:
                    tasks[key.name] = task
        return tasks

    def find(self, group: TaskGroup, name: str) -> Task | None:
        stored = self._stored.get(group.name, {}).get(name)
        task = self._wishes.expected(TaskKey(group.name, name), stored)
        return self._as_added(VersionedDefinition(definition=task, version=0)) if isinstance(task, CoreTask) else task

    # -- the life of a node -------------------------------------------------------------------------------------------

    def begin(self, node: Node, *, durable: bool) -> None:
        """A node is about to start: hand it what waits. A store that forgets gets everything again."""
        if not durable:
            for _, definition in self._added.values():
                self._wishes.add(definition)
        self._stored.clear()
        node.registrar.wishes = self._wishes
        self._node, self._loop = node, asyncio.get_running_loop()

    def end(self, node: Node) -> None:
        """The node has stopped. What it did not get written waits for the next one."""
        if self._node is node:
            self._node = self._loop = None

    def notice(self, event: Event) -> None:
        """An observer of the node: list what the store holds."""
        if isinstance(event, CatalogueChanged) and self._node is not None:
            self._learn(self._node.definitions, event.changed)
            self._forget(event.removed)

    def _learn(self, definitions: Definitions, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            stored = definitions.get(key)
            if stored is None or not stored.definition.dynamic:
                self._stored.get(key.group, {}).pop(key.name, None)
            elif key.group in self._groups:
                self._stored.setdefault(key.group, {})[key.name] = self._as_added(stored)

    def _as_added(self, stored: VersionedDefinition) -> Task:
        """The very object that code got, if that is what code added."""
        added = self._added.get(stored.definition.key)
        return added[0] if added is not None and added[1] == stored.definition else self.shown(stored)

    def _forget(self, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            self._stored.get(key.group, {}).pop(key.name, None)
            if not self._wishes.is_pending(key):
                self._added.pop(key, None)

    def _wake(self) -> None:
        """Groups are filled from any thread; the node belongs to its loop."""
        node, loop = self._node, self._loop
        if node is not None and loop is not None:
            loop.call_soon_threadsafe(node.registrar.on_request)
