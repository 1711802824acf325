"""The groups of one manager: their declarations for the core, and the stored tasks for the groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi_task_manager.group_contents import CheckedTask, GroupContents, contents_of
from fastapi_task_manager.injection import DependencyResolver
from fastapi_task_manager.options import Defaults
from fastapi_task_manager.task import Task
from fastapi_task_manager.task_group import TaskGroup
from fastapi_task_manager.task_translation import definition_of, task_of
from fastapi_task_manager.user_function import UserFunction
from task_manager_core.application.callbacks import Callbacks
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.definitions import Definitions
from task_manager_core.application.function import Function
from task_manager_core.domain.errors import DuplicateGroup, GroupNotFound
from task_manager_core.domain.events import CatalogueChanged, Event
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition


class GroupRegistry:
    """Listens to its groups and, as an observer, to the node.

    Laws: each change that code requests reaches the store once. A dynamic task that was written and then removed by
    another process is not written again. A group lists what this process has read last in the store, after the changes
    that code has requested since, and nothing else.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.declarations = Declarations()
        """What the code of all groups declares. Each node of the manager is given it."""
        self.injection = DependencyResolver()
        """The dependencies of the functions of all groups."""
        self.callbacks: Callbacks | None = None
        """Those of the manager."""
        self._bound_functions: dict[UserFunction, Function] = {}
        self._pending = self.declarations.pending
        self._defaults = defaults
        self._groups: dict[str, TaskGroup] = {}
        self._added: dict[TaskKey, tuple[Task, TaskDefinition]] = {}
        """The dynamic tasks that code has added, until another process removes them."""
        self._stored: dict[str, dict[str, Task]] = {}
        """The dynamic tasks that the store holds, as this process read it last: by group and name."""
        self._definitions: Definitions | None = None
        """The copy of the catalogue of the node that runs."""

    @property
    def groups(self) -> list[TaskGroup]:
        return list(self._groups.values())

    def group(self, name: str) -> TaskGroup:
        """The group of this name. Errors: GroupNotFound."""
        found = self._groups.get(name)
        if found is None:
            raise GroupNotFound(name)
        return found

    def has(self, name: str) -> bool:
        """Is there a group of this name?"""
        return name in self._groups

    def contents(self, name: str) -> GroupContents:
        """The contents of this group. Errors: GroupNotFound."""
        return contents_of(self.group(name))

    def callbacks_of(self, key: TaskKey) -> list[Callbacks]:
        """The callbacks of a task: its own, those of its group, those of the manager."""
        group = self._groups.get(key.group)
        found = [] if group is None else contents_of(group).callbacks_of(key.name)
        return found if self.callbacks is None else [*found, self.callbacks]

    def definition(self, checked: CheckedTask) -> TaskDefinition:
        """The definition of a task that one of these groups has checked."""
        return checked.definitions[self]

    def add(self, group: TaskGroup) -> None:
        """Take a group with its tasks and functions: all of them, or none. Errors: DuplicateGroup, DefinitionError."""
        if group.name in self._groups:
            raise DuplicateGroup(group.name)
        contents = contents_of(group)
        static = [(self.define(contents, task), function) for task, function in contents.static.values()]
        dynamic = [(task, self.define(contents, task)) for task in contents.dynamic_tasks]
        self._groups[group.name] = group
        for name, registered in contents.functions.items():
            self.registered(contents, name, registered)
        for definition, function in static:
            self.declared(definition, function)
        for task, definition in dynamic:
            self.added(task, definition, replace=contents.replaces(task.name))
        contents.attach(self)
        if self._definitions is not None:
            self._learn([stored.definition.key for stored in self._definitions.named(group.name, None)])

    def task_of(self, stored: VersionedDefinition) -> Task:
        """A stored definition as its group lists it."""
        group = self._groups.get(stored.definition.key.group)
        function = None if group is None else contents_of(group).functions.get(stored.definition.function)
        return task_of(stored, None if function is None else function.call)

    # -- as a listener of its groups ----------------------------------------------------------------------------------

    def define(self, group: GroupContents, task: Task) -> TaskDefinition:
        return definition_of(task, group.defaults(self._defaults))

    def declared(self, definition: TaskDefinition, function: UserFunction) -> None:
        self.declarations.declare(definition, self._bound(function))

    def registered(self, group: GroupContents, name: str, function: UserFunction) -> None:
        self.declarations.register(FunctionKey(group.name, name), self._bound(function), named=group.is_named(name))

    def added(self, task: Task, definition: TaskDefinition, *, replace: bool) -> None:
        self._added[definition.key] = (task, definition)
        self.declarations.add(definition, replace=replace)

    def removed(self, group: GroupContents, name: str) -> None:
        key = TaskKey(group.name, name)
        self._added.pop(key, None)
        self.declarations.remove(key)

    def listed(self, group: GroupContents) -> dict[str, Task]:
        tasks = dict(self._stored.get(group.name, {}))
        for key in self._pending.unread():
            if key.group == group.name:
                task = self.find(group, key.name)
                if task is None:
                    tasks.pop(key.name, None)
                else:
                    tasks[key.name] = task
        return tasks

    def find(self, group: GroupContents, name: str) -> Task | None:
        stored = self._stored.get(group.name, {}).get(name)
        task = self._pending.expected(TaskKey(group.name, name), stored)
        if isinstance(task, TaskDefinition):
            return self._as_added(VersionedDefinition(definition=task, version=0))
        return task

    def _bound(self, function: UserFunction) -> Function:
        return self._bound_functions.setdefault(function, function.bound(self.injection))

    # -- beside a node ------------------------------------------------------------------------------------------------

    def begin(self, definitions: Definitions, *, durable: bool) -> None:
        """A node is about to start; `definitions` is its copy of the catalogue. A store that is not durable gets all
        dynamic tasks of the code again."""
        self.injection.begin()
        if not durable:
            for _, definition in self._added.values():
                self.declarations.add(definition)
        self._stored.clear()
        self._definitions = definitions

    def copy_changes(self) -> Callable[[], None]:
        """Copy the dynamic tasks that code has added and removed so far. The answer restores them: the tasks that a
        test adds end with it, and the changes that a test has written to its own store are pending again."""
        added, restore_pending = dict(self._added), self._pending.copy()

        def restore() -> None:
            self._added = added
            self._stored.clear()
            restore_pending()

        return restore

    def end(self, definitions: Definitions) -> None:
        """The node has stopped. The next node writes what this one has not written."""
        if self._definitions is definitions:
            self._definitions = None

    def notice(self, event: Event) -> None:
        """As an observer of the node: list what the store holds."""
        if isinstance(event, CatalogueChanged) and self._definitions is not None:
            self._learn(event.changed)
            self._forget(event.removed)

    def _learn(self, keys: Sequence[TaskKey]) -> None:
        if self._definitions is None:
            return
        for key in keys:
            stored = self._definitions.get(key)
            if stored is None or not stored.definition.dynamic:
                self._stored.get(key.group, {}).pop(key.name, None)
            elif key.group in self._groups:
                self._stored.setdefault(key.group, {})[key.name] = self._as_added(stored)

    def _as_added(self, stored: VersionedDefinition) -> Task:
        """The object that `add_dynamic_task` returned, if the stored task is the one that code added."""
        added = self._added.get(stored.definition.key)
        return added[0] if added is not None and added[1] == stored.definition else self.task_of(stored)

    def _forget(self, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            self._stored.get(key.group, {}).pop(key.name, None)
            if not self._pending.is_pending(key):
                self._added.pop(key, None)
