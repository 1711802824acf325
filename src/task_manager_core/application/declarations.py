"""The tasks and functions that the code of this process declares."""

from __future__ import annotations

from collections.abc import Callable

from task_manager_core.application.function import AnyFunction, Function
from task_manager_core.application.pending import PendingChanges
from task_manager_core.domain.errors import DuplicateFunction, DuplicateTask
from task_manager_core.domain.identity import FunctionKey, TaskKey, check_name
from task_manager_core.domain.run import Run
from task_manager_core.domain.task import TaskDefinition


class Declarations:
    """The static tasks, the functions, and the dynamic tasks that code adds and removes. A node is given one of these.

    Law: a declared function stays callable until the process ends. Code may declare from any thread.
    """

    def __init__(self) -> None:
        self._functions: dict[FunctionKey, Function] = {}
        self._named: set[FunctionKey] = set()
        self._static: dict[TaskKey, tuple[TaskDefinition, Function]] = {}
        self._in_order: list[TaskDefinition] = []
        self.pending = PendingChanges()
        """The additions and removals of dynamic tasks that the store does not know yet."""
        self.revision = 0
        """Grows with each function and each static task."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change, in the thread that made it. The running node sets it."""

    @property
    def functions(self) -> frozenset[FunctionKey]:
        """The functions that dynamic tasks may name."""
        return frozenset(self._functions)

    @property
    def has_functions(self) -> bool:
        """Can this process call any function?"""
        return bool(self._functions or self._static)

    @property
    def declared(self) -> dict[TaskKey, TaskDefinition]:
        """The static tasks."""
        return {key: task for key, (task, _) in self._static.items()}

    def declared_after(self, number: int) -> list[TaskDefinition]:
        """The static tasks without the first `number`, in the order in which code declared them."""
        return self._in_order[number:]

    def declaration(self, key: TaskKey) -> TaskDefinition | None:
        """The static task of this key."""
        declared = self._static.get(key)
        return None if declared is None else declared[0]

    def register(self, key: FunctionKey, function: Function | AnyFunction, *, named: bool = True) -> Function:
        """Let dynamic tasks call a function.

        Args:
            key: The group, and the name that dynamic tasks use.
            function: A callable, inspected or not.
            named: True if code chose this name for the function: each task that names it means this function. False if
                a static task brought the function along: the function of another task may have the same name.

        Errors: DefinitionError, DuplicateFunction.
        """
        check_name("name", key.name)
        function = _inspected(function)
        known = self._functions.get(key)
        if known is not None and known.call is not function.call:
            raise DuplicateFunction(key.group, key.name)
        self._functions[key] = function
        if named:
            self._named.add(key)
        self.revision += 1
        self.on_change()
        return function

    def declare(self, task: TaskDefinition, function: Function | AnyFunction) -> None:
        """Declare a static task with its own function, which must accept the arguments of the task.

        Errors: DefinitionError, DuplicateTask, InvalidArguments.
        """
        if task.key in self._static:
            raise DuplicateTask(task.key.group, task.key.name)
        task.check_names()
        function = _inspected(function)
        function.check_task(task)
        self._static[task.key] = (task, function)
        self._in_order.append(task)
        self.revision += 1
        self.on_change()

    def add(self, task: TaskDefinition, *, replace: bool = False) -> None:
        """Let the node create this dynamic task. If the store holds a dynamic task of its name, the node replaces its
        definition or keeps it."""
        self.pending.add(task, replace=replace)
        self.on_change()

    def remove(self, key: TaskKey) -> None:
        """Let the node remove this dynamic task."""
        self.pending.remove(key)
        self.on_change()

    def function(self, key: FunctionKey) -> Function | None:
        """The function that dynamic tasks call by this name."""
        return self._functions.get(key)

    def knows(self, task: TaskDefinition) -> bool:
        """Can this process call a function for the runs of this task? It can call its own function for those of a
        static task, also for runs that other code has queued under another name of the function."""
        if not task.dynamic and task.key in self._static:
            return True
        key = FunctionKey(task.key.group, task.function)
        return key in self._functions if task.dynamic else key in self._named

    def function_of(self, run: Run) -> Function | None:
        """The function to call for this run, None if this process does not know it.

        A static task is called with its own function. A name that the functions of several static tasks share does not
        tell which of them is meant.
        """
        declared = self._static.get(run.task)
        if declared is not None and declared[0].function == run.function:
            return declared[1]
        key = FunctionKey(run.task.group, run.function)
        return self._functions.get(key) if run.dynamic or key in self._named else None


def _inspected(function: Function | AnyFunction) -> Function:
    return function if isinstance(function, Function) else Function.of(function)
