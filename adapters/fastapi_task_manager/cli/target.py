"""Finds the manager that a command line names."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from fastapi_task_manager.cli.options import WorkerOptions
from fastapi_task_manager.lifespans import managers_of
from fastapi_task_manager.task_manager import TaskManager

if TYPE_CHECKING:
    from fastapi import FastAPI

_TARGET = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")


class BadTarget(Exception):
    """The text of the command line names no manager. Its message says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """The managers of a worker, and the application whose lifespan starts them; None: the worker starts its only
    manager itself."""

    managers: Sequence[TaskManager]
    app: FastAPI | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The managers run inside the context. They stop in order at its end."""
        if self.app is not None:
            async with self.app.router.lifespan_context(self.app):
                yield
            return
        [manager] = self.managers
        await manager.start()
        try:
            yield
        finally:
            await manager.stop()


def check_target(text: str) -> tuple[str, str]:
    """Module and attribute. Errors: BadTarget."""
    match = _TARGET.fullmatch(text)
    if match is None:
        raise BadTarget(f"TARGET must be module:manager, such as shop.tasks:manager, not {text!r}")
    return match["module"], match["attribute"]


async def load_target(options: WorkerOptions) -> Target:
    """Import the module, and find a manager, an application, or a function without parameters that makes one of them.
    Errors: BadTarget; every error of the imported module."""
    module_name, path = check_target(options.target)
    folder = _folder(options.app_dir)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = _attribute(_module(module_name, folder), path, options.target)
    if not _is_manager(found) and not _is_app(found) and _is_factory(found):
        try:
            found = found()
        except TypeError as error:
            raise BadTarget(f"{options.target} cannot be called without arguments: {error}") from error
        if inspect.isawaitable(found):
            found = await found
    if _is_manager(found):
        return Target([found])
    if not _is_app(found):
        raise BadTarget(
            f"{options.target} is a {type(found).__name__}: name a TaskManager, a FastAPI application that has one, or "
            "a function that returns one of them"
        )
    managers = managers_of(found)
    if not managers:
        raise BadTarget(f"the application {options.target} has no task manager: TaskManager(app, ...) joins one")
    return Target(managers, found)


def _folder(app_dir: str) -> str:
    return str(Path(app_dir or ".").resolve())


def _module(name: str, folder: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise BadTarget(
            f"there is no module {error.name!r} in {folder} (--app-dir) or among the installed ones"
        ) from None


def _attribute(module: object, path: str, target: str) -> object:
    found = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise BadTarget(f"{target}: {getattr(found, '__name__', found)!r} has no attribute {name!r}") from None
    return found


def _is_manager(value: object) -> TypeGuard[TaskManager]:
    return isinstance(value, TaskManager)


def _is_app(value: object) -> TypeGuard[FastAPI]:
    return hasattr(getattr(value, "router", None), "lifespan_context")


def _is_factory(value: object) -> TypeGuard[Callable[[], object]]:
    return callable(value)
