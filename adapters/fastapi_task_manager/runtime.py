"""Runs one node, from the opening of its store to the closing."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from fastapi_task_manager.arguments import json_of
from fastapi_task_manager.config import OperationalConfig
from fastapi_task_manager.coverage import CoverageWatch
from fastapi_task_manager.errors import StartInterruptedError, StartTimedOutError
from fastapi_task_manager.group_registry import GroupRegistry
from fastapi_task_manager.hooks import Hooks
from fastapi_task_manager.observers.fanout import Fanout
from fastapi_task_manager.observers.kept_lines import keeping_lines
from fastapi_task_manager.observers.logs import LogObserver, logger_of
from fastapi_task_manager.signals import END_SIGNALS, Listener
from task_manager_core.application.callbacks import CallbackRunner
from task_manager_core.application.executor import Around
from task_manager_core.application.keeper import KeeperThread
from task_manager_core.application.loop import first_of
from task_manager_core.application.node import Node
from task_manager_core.application.processes import ProcessPool
from task_manager_core.ports import Backend, Observer, OpenBackend

GRACE_SECONDS = 1.0
"""A start waits this long for the first pass, so that the first request usually finds everything in place."""

ANSWER_SECONDS = 2.0
"""How long a health check waits for the store."""

WATCH_SECONDS = 1.0
"""A signal handler that the application installs later replaces ours for this long at most."""

ECHO_SECONDS = 1.0
"""A second signal within this time counts as the first one: a terminal and a supervisor send one each."""


class NodeRuntime:
    """Starts and stops once.

    Law: one asyncio task owns everything. The task opens the store, runs the node, stops it and closes the store, in
    this order, at whatever moment a stop is requested. Nothing of the node outlives the task.
    """

    def __init__(
        self,
        *,
        config: OperationalConfig,
        open_backend: OpenBackend,
        groups: GroupRegistry,
        observers: Sequence[Observer],
        hooks: Hooks,
        make_node: Callable[..., Node] = Node,
    ) -> None:
        self._config = config
        self._open_backend = open_backend
        self._make_node = make_node
        self._groups = groups
        self._observers: tuple[Observer, ...] = (LogObserver(), groups, *observers)
        self._hooks = hooks
        self._callbacks: CallbackRunner | None = None
        self.loop = asyncio.get_running_loop()
        self.node: Node | None = None
        self.started_at: datetime | None = None
        self._coverage: CoverageWatch | None = None
        self._is_working = False
        self._stop_requested = asyncio.Event()
        self._started = asyncio.Event()
        self._starters = 0
        self._error: Exception | None = None
        self._listener = Listener(self.loop, self._signalled)
        self._signalled_at: float | None = None
        self._owner = self.loop.create_task(self._open_and_run(), name="task manager")
        self._owner.add_done_callback(self._on_ended)

    @property
    def ended(self) -> bool:
        """Has everything ended? A closed event loop has ended everything, too."""
        return self._owner.done() or self.loop.is_closed()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The work that no living process does, as this process has seen it last."""
        return () if self._coverage is None else self._coverage.warnings

    @property
    def stopping(self) -> bool:
        """Has a stop been requested?"""
        return self._stop_requested.is_set() or self.ended

    # -- for the lifecycle ------------------------------------------------------------------------------------------

    async def wait_started(self) -> None:
        """Wait until the node has started. If all callers that wait are cancelled, the start is cancelled.

        Errors: StartTimedOutError, StartInterruptedError, and the errors of opening the store.
        """
        self._starters += 1
        try:
            await self._started.wait()
        except asyncio.CancelledError:
            if self._starters == 1 and not self._is_working:
                self.request_stop()
                await self.wait_ended()
            raise
        finally:
            self._starters -= 1
        if not self._is_working:
            raise StartInterruptedError if self._error is None else self._error

    def request_stop(self) -> None:
        """Request the stop. An opening that is under way is cancelled; a running node stops in order."""
        self._stop_requested.set()
        if self.node is None:
            self._owner.cancel()

    async def wait_ended(self) -> None:
        """Wait for the end. Raises none of its errors."""
        await asyncio.wait({self._owner})

    async def finish(self) -> None:
        """Wait for the end. A caller that is cancelled forces the stop, and waits on. Errors: those of closing the
        store."""
        try:
            await self.wait_ended()
        except asyncio.CancelledError:
            self._force_stop()
            await self.wait_ended()
            raise
        if self._is_working and self._error is not None:
            raise self._error

    async def problem(self) -> tuple[bool, str | None]:
        """Does the store answer, and which problem keeps this node from its work? Raises nothing."""
        node = self.node
        if node is None:
            return False, "the store is being opened"
        try:
            await node.control.ping(ANSWER_SECONDS)
        except TimeoutError:
            return False, f"the store did not answer within {ANSWER_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - a health check reports every error, and never fails itself
            return False, str(error) or type(error).__name__
        return True, _problem_of(node)

    # -- the task that owns it ----------------------------------------------------------------------------------------

    async def _open_and_run(self) -> None:
        from fastapi_task_manager.container import Container  # noqa: PLC0415 - see its docstring

        END_SIGNALS.add(self._listener)
        try:
            async with self._open_backend(clock=Container.clock(), retention=self._config.retention()) as backend:
                if not self._stop_requested.is_set():  # A store may suppress a cancellation while it is opened.
                    state = await self._hooks.begin()
                    try:
                        with self._keeping_lines():
                            await self._run(backend, state)
                    finally:
                        await self._hooks.end(state)
        except Exception as error:  # noqa: BLE001 - `wait_started` and `finish` raise it
            self._error = error
        finally:
            END_SIGNALS.remove(self._listener)

    def _keeping_lines(self) -> AbstractContextManager[None]:
        return keeping_lines() if self._config.keep_log_lines else nullcontext()

    async def _run(self, backend: Backend, state: object) -> None:
        from fastapi_task_manager.container import Container  # noqa: PLC0415 - as above

        backend, around = _traced(backend) if self._config.tracing else (backend, None)
        processes = ProcessPool(json_of, self._config.process_pool_size or os.cpu_count() or 1)
        callbacks = self._callbacks = CallbackRunner(self._groups, logger_of("runner"), state)
        container = Container(
            backend=backend,
            declarations=self._groups.declarations,
            policy=self._config.node_policy(),
            observer=Fanout((*self._observers, callbacks)),
            service=self._config.worker_service_name,
            logger=logger_of("runner"),
            make_node=self._make_node,
            state=state,
            reopen=functools.partial(self._open_backend, clock=Container.clock(), retention=self._config.retention()),
            processes=processes,
            duties=self._config.duties(),
            around=around,
            keep_lines=self._config.keep_log_lines,
        )
        node = self.node = container.node()
        self.started_at = container.clock().now()
        self._groups.begin(node.definitions, durable=backend.capabilities.durable)
        keeps = node.services is None and node.duties.executes and node.keeper.is_needed
        keeper = KeeperThread(node.keeper) if keeps else None
        coverage = self._coverage = CoverageWatch(node)
        looking = self.loop.create_task(coverage.run(), name="coverage") if node.services is None else None
        try:
            if keeper is not None:
                keeper.start()
            node.start()
            if self._signalled_at is not None:
                node.leave()
            logger_of("runner").info("%s started on the %s store", node.id, backend.name)
            await self._await_first_pass(node)
            if not self._stop_requested.is_set():
                self._is_working = True
                self._started.set()
            await self._watch()
        except asyncio.CancelledError:
            node.force_stop()  # The event loop is being closed: what executes has been interrupted as well.
            raise
        finally:
            self._stop_requested.set()
            if looking is not None:
                looking.cancel()
            try:
                await self._stop(node, callbacks)
            finally:
                processes.close()
                if keeper is not None:
                    await keeper.stop()

    async def _await_first_pass(self, node: Node) -> None:
        limit = self._config.start_timeout
        await first_of(node.ready, self._stop_requested, timeout=GRACE_SECONDS if limit is None else limit)
        if limit is not None and not node.ready.is_set() and not self._stop_requested.is_set():
            _, reason = await self.problem()
            raise StartTimedOutError(f"not usable within start_timeout={limit:g} s: {reason}")

    async def _watch(self) -> None:
        """Wait until a stop is requested."""
        while not self._stop_requested.is_set():
            END_SIGNALS.renew()
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._stop_requested.wait()
            except TimeoutError:
                continue

    async def _stop(self, node: Node, callbacks: CallbackRunner) -> None:
        END_SIGNALS.drain(self._listener)
        ends = self.loop.time() + self._config.shutdown_timeout
        try:
            await node.stop()
        except asyncio.CancelledError:
            # The event loop is being closed: it cancels all tasks once, and then waits for them.
            node.force_stop()
            await node.stop()
            raise
        finally:
            await callbacks.finish(ends - self.loop.time())
            self._groups.end(node.definitions)
        logger_of("runner").info("%s stopped", node.id)

    def _force_stop(self) -> None:
        if self._callbacks is not None:
            self._callbacks.abandon()
        if self.node is not None:
            self.node.force_stop()

    # -- events -------------------------------------------------------------------------------------------------------

    def _signalled(self, at: float) -> None:
        """The first signal makes the node leave; the server ends the lifespan later. The second signal forces the
        stop."""
        first = self._signalled_at
        if first is None:
            self._signalled_at = at
        elif at - first < ECHO_SECONDS:
            return
        node = self.node
        if node is None:
            return
        if first is None and not self.stopping:
            logger_of("runner").info(
                "%s received a signal: it resigns and claims no more, running tasks go on", node.id
            )
            node.leave()
        else:
            logger_of("runner").info("%s received a second signal: it releases its running tasks", node.id)
            self._force_stop()
            self._stop_requested.set()

    def _on_ended(self, owner: asyncio.Task[None]) -> None:
        self._started.set()
        if not owner.cancelled():
            owner.exception()  # An exception such as SystemExit: the event loop has raised it already.


def _traced(backend: Backend) -> tuple[Backend, Around]:
    """Errors: ImportError without OpenTelemetry."""
    try:
        from fastapi_task_manager import tracing  # noqa: PLC0415 - few processes need OpenTelemetry
    except ImportError as error:
        raise ImportError("tracing=True needs the extra `otel`: hexagonal-task-manager[otel]") from error
    tracer = tracing.tracer()
    return tracing.traced(backend, tracer), tracing.TracedAttempts(backend.history, tracer)


def _problem_of(node: Node) -> str | None:
    if node.leaving:
        return "the process is going to end: it leads and claims no more"
    if not node.alive:
        return "a service of this process has ended"
    if node.failing:
        return f"failing again and again (the log says why): {', '.join(node.failing)}"
    if not node.ready.is_set():
        return "the definitions have not been written to the store yet"
    return None
