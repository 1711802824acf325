"""What the groups of one manager contain, translated for the core: here the words of code meet those of Config."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from fastapi_task_manager.options import Defaults
from fastapi_task_manager.task import Task, TaskFunction
from fastapi_task_manager.task_group import TaskGroup
from task_manager_core.application.definitions import Definitions
from task_manager_core.application.node import Node
from task_manager_core.application.registry import Registry
from task_manager_core.application.wishes import Wishes
from task_manager_core.domain.errors import DuplicateGroup, GroupNotFound
from task_manager_core.domain.events import CatalogueChanged, DefinitionKept, Event
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
        self._added: dict[TaskKey, tuple[Task, CoreTask]] = {}
        self._wishes = Wishes()
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

    def shown(self, task: CoreTask) -> Task:
        """A stored definition as its group shows it."""
        group = self._groups.get(task.key.group)
        return Task.of(task, None if group is None else group.function_registry.get(task.function))

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
        if self._node is None:
            self._wishes.add(definition)
        else:
            self._in_loop(partial(self._node.registrar.add, definition))

    def removed(self, group: TaskGroup, name: str) -> None:
        key = TaskKey(group.name, name)
        self._added.pop(key, None)
        if self._node is None:
            self._wishes.remove(key)
        else:
            self._in_loop(partial(self._node.registrar.remove, key))

    # -- the life of a node -------------------------------------------------------------------------------------------

    def begin(self, node: Node, *, durable: bool) -> None:
        """A node is about to start: hand it what waits. A store that forgets gets everything again."""
        if not durable:
            for _, definition in self._added.values():
                self._wishes.add(definition)
        for group in self._groups.values():
            for task in group.dynamic_tasks:
                if TaskKey(group.name, task.name) not in self._wishes.additions:
                    group.forget(task.name)
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
        elif isinstance(event, DefinitionKept) and self._node is not None:
            self._learn(self._node.definitions, [event.key])

    def _learn(self, definitions: Definitions, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            stored, group = definitions.get(key), self._groups.get(key.group)
            if stored is None or group is None or self._wishes.concern(key):
                continue
            added = self._added.get(key)
            if not stored.task.dynamic:
                group.forget(key.name)
            elif added is not None and added[1] == stored.task:
                group.learn(added[0])
            else:
                group.learn(self.shown(stored.task))

    def _forget(self, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            group = self._groups.get(key.group)
            if group is not None and not self._wishes.concern(key):
                self._added.pop(key, None)
                group.forget(key.name)

    def _wake(self) -> None:
        if self._node is not None:
            self._in_loop(self._node.registrar.on_request)

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Groups are filled from any thread; the node belongs to its loop. There it hears at once, so that what is
        awaited next finds it."""
        assert self._loop is not None
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            call()
        else:
            self._loop.call_soon_threadsafe(call)
