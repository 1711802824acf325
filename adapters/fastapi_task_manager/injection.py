"""Calls functions with their dependencies: resolves them before an attempt, and closes them after it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, TypeVar, assert_never
from weakref import WeakSet

from task_manager_core.application.context import RunContext
from task_manager_core.application.executor import DaemonThreads

if TYPE_CHECKING:
    from fastapi import FastAPI

T = TypeVar("T")

_Outcome: TypeAlias = tuple[Any, BaseException | None]
Convert: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes values of arguments that are JSON."""

_Opened: TypeAlias = tuple[dict[str, Any], contextvars.Context, "asyncio.Future[_Outcome]"]


class Kind(Enum):
    """How a dependency is called."""

    FUNCTION = "function"
    COROUTINE = "coroutine"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """What a callable gets besides its own arguments, by parameter. `injected`: dependency-injector fills these."""

    contexts: tuple[str, ...]
    dependencies: Mapping[str, Dependency]
    injected: tuple[str, ...]

    @property
    def with_context(self) -> bool:
        """Does a dependency, or one of its dependencies, ask for the RunContext?"""
        return any(one.needs.contexts or one.needs.with_context for one in self.dependencies.values())


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """What `Depends` names. `limit`: so many calls at one time, for all parameters that share the `Depends`."""

    call: Callable[..., Any]
    kind: Kind
    needs: Needs
    use_cache: bool = True
    limit: int | None = None
    declared: object = None


class DependencyResolver:
    """The dependencies of one manager's tasks.

    Laws: a dependency is resolved once in an attempt, unless `use_cache=False`. Generators are closed in reverse order
    when the attempt ends, however it ends; an exception of the attempt is raised inside them first. A generator that
    suppresses it does not turn a failure into a success.
    """

    def __init__(self) -> None:
        self.apps: WeakSet[FastAPI] = WeakSet()
        """Their `dependency_overrides` count. An application of Starlette has none."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the node that runs."""
        self._threads = DaemonThreads()
        self._limits: dict[object, asyncio.Semaphore] = {}

    def begin(self) -> None:
        """A node is about to start in this event loop."""
        self.loop = asyncio.get_running_loop()
        self._limits.clear()

    def in_loop(
        self, call: Callable[..., Any], needs: Needs, context: str | None, convert: Convert
    ) -> Callable[..., Any]:
        """An asynchronous function, to be called without its dependencies. `context` names the argument that holds the
        RunContext."""

        def injecting(**given: Any) -> Any:
            run_context = None if context is None else given.pop(context)
            arguments = convert(given)
            return self._around(needs, run_context, functools.partial(_called, call, arguments))

        return injecting

    def in_thread(
        self, call: Callable[..., Any], needs: Needs, context: str | None, convert: Convert
    ) -> Callable[..., Any]:
        """The same for a synchronous function. A worker calls it in a thread. Its dependencies live in the event loop,
        in one asyncio task from their start to their end."""

        def injecting(**given: Any) -> Any:
            run_context = None if context is None else given.pop(context)
            arguments = convert(given)
            assert self.loop is not None
            opened: concurrent.futures.Future[_Opened] = concurrent.futures.Future()
            holding = asyncio.run_coroutine_threadsafe(self._hold(needs, run_context, opened), self.loop)
            values, variables, ended = opened.result()
            outcome = _outcome(functools.partial(variables.run, functools.partial(call, **arguments, **values)))
            self.loop.call_soon_threadsafe(_end, ended, outcome)
            returned, error = holding.result()
            if error is not None:
                raise error
            return returned

        return injecting

    # -- in the event loop --------------------------------------------------------------------------------------------

    async def _hold(
        self, needs: Needs, context: RunContext | None, opened: concurrent.futures.Future[_Opened]
    ) -> _Outcome:
        """Hold the dependencies while a thread calls the function. Exceptions are values here: SystemExit would end the
        event loop."""

        async def call(values: dict[str, Any]) -> Any:
            ended: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
            opened.set_result((values, contextvars.copy_context(), ended))
            result, error = await ended
            if error is not None:
                raise error
            return await result if _is_awaitable(result) else result

        try:
            return await self._around(needs, context, call), None
        except BaseException as error:  # noqa: BLE001 - as in the executor, of which this is a part
            if opened.done():
                return None, error
            opened.set_exception(error)
            return None, None

    async def _around(
        self, needs: Needs, context: RunContext | None, call: Callable[[dict[str, Any]], Awaitable[T]]
    ) -> T:
        """Call a function between the start of its dependencies and their end."""
        failure: BaseException | None = None
        async with AsyncExitStack() as stack:
            try:
                resolver = _AttemptResolver(self, stack, context)
                result = await call(await resolver.values(needs))
            except BaseException as error:
                failure = error
                raise
        if failure is not None:
            raise failure  # A dependency has suppressed it.
        return result

    def override_of(self, dependency: Dependency) -> Dependency:
        """What an application has set in its place, else the dependency itself. Errors: DefinitionError."""
        for app in self.apps:
            overrides: Mapping[Callable[..., Any], Callable[..., Any]] = getattr(app, "dependency_overrides", {})
            call = overrides.get(dependency.call)
            if call is not None:
                from fastapi_task_manager.dependency_plan import dependency_of  # noqa: PLC0415 - it imports FastAPI

                return dependency_of(call)
        return dependency

    def limit_of(self, dependency: Dependency) -> asyncio.Semaphore | None:
        """Its limit of calls at one time."""
        if dependency.limit is None:
            return None
        return self._limits.setdefault(dependency.declared, asyncio.Semaphore(dependency.limit))

    async def in_own_thread(self, call: Callable[[], T]) -> T:
        """Call it in a thread. A caller that is interrupted waits for the thread, unless it is interrupted again."""
        variables = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, _outcome, functools.partial(variables.run, call))
        try:
            result, error = await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.shield(work)
            raise
        if error is not None:
            raise error
        value: T = result
        return value


class _AttemptResolver:
    """The dependencies of one attempt."""

    def __init__(self, injection: DependencyResolver, stack: AsyncExitStack, context: RunContext | None) -> None:
        self._injection = injection
        self._stack = stack
        self._context = context
        self._resolved: dict[Callable[..., Any], Any] = {}

    async def values(self, needs: Needs) -> dict[str, Any]:
        """The values of the parameters that are no arguments."""
        if needs.contexts and self._context is None:
            raise LookupError(
                "an override asks for the RunContext, and the dependencies of this synchronous task do not"
            )
        values: dict[str, Any] = dict.fromkeys(needs.contexts, self._context)
        for name, dependency in needs.dependencies.items():
            if dependency.use_cache and dependency.call in self._resolved:
                values[name] = self._resolved[dependency.call]
            else:
                values[name] = await self._value(dependency)
                self._resolved.setdefault(dependency.call, values[name])
        return values

    async def _value(self, dependency: Dependency) -> Any:
        used = self._injection.override_of(dependency)
        arguments = await self.values(used.needs)
        limit = self._injection.limit_of(dependency)
        call = functools.partial(used.call, **arguments)
        match used.kind:
            case Kind.GENERATOR:
                await self._take(limit, self._stack)
                return await self._stack.enter_async_context(_in_threads(self._injection, contextmanager(call)()))
            case Kind.ASYNC_GENERATOR:
                await self._take(limit, self._stack)
                return await self._stack.enter_async_context(asynccontextmanager(call)())
            case Kind.COROUTINE:
                async with AsyncExitStack() as now:
                    await self._take(limit, now)
                    return await call()
            case Kind.FUNCTION:
                async with AsyncExitStack() as now:
                    await self._take(limit, now)
                    return await self._injection.in_own_thread(call)
            case _:
                assert_never(used.kind)

    async def _take(self, limit: asyncio.Semaphore | None, until: AsyncExitStack) -> None:
        """Wait for a place below the limit, and keep it until this stack ends."""
        if limit is not None:
            await until.enter_async_context(limit)


@asynccontextmanager
async def _in_threads(injection: DependencyResolver, generator: AbstractContextManager[T]) -> AsyncGenerator[T]:
    """A synchronous generator: each of its two parts is called in a thread."""
    entered: list[T] = []
    try:
        await injection.in_own_thread(lambda: entered.append(generator.__enter__()))
        yield entered[0]
    except BaseException as error:
        if not entered:
            raise
        leave = functools.partial(generator.__exit__, type(error), error, error.__traceback__)
        if not await injection.in_own_thread(leave):
            raise
    else:
        await injection.in_own_thread(functools.partial(generator.__exit__, None, None, None))


def _called(call: Callable[..., Awaitable[Any]], arguments: dict[str, Any], values: dict[str, Any]) -> Awaitable[Any]:
    return call(**arguments, **values)


def _outcome(call: Callable[[], Any]) -> _Outcome:
    """The result, and the exception as a value: a future refuses StopIteration."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - as in the executor, of which this is a part
        return None, error


def _is_awaitable(result: object) -> TypeGuard[Awaitable[Any]]:
    return isinstance(result, Awaitable)


def _end(ended: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not ended.done():
        ended.set_result(outcome)
