"""Processes for functions that compute. Each of them executes one call at a time.

A process is started when a call needs one and none is idle, and is used again. It can be killed: at the timeout of a
call, or when the attempt is interrupted. A call that ends its process harms no other call.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from task_manager_core.application.failure import ProcessCrashed, RunTimedOut
from task_manager_core.application.process_call import Raised, Returned, called, found
from task_manager_core.application.result import ToJson

START_SECONDS = 60.0
"""How long a process may take to start and to import the module of the function. The timeout of a call begins then."""

END_SECONDS = 5.0
"""How long the end of a killed process is awaited."""

BEGUN = b""
"""The child tells that it has started, and later that it begins a call."""


class Child:
    """One process. Only one thread at a time calls it."""

    def __init__(self, to_json: ToJson) -> None:
        # Not `fork`: the threads of this process may hold locks, which would stay locked in the child.
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        self._has_started = False
        # No daemon: the function may start processes itself.
        self._process: SpawnProcess = spawning.Process(
            target=serve, args=(theirs, to_json), name="task-manager function"
        )
        try:
            self._process.start()
        finally:
            theirs.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def call(self, request: bytes, limit: float | None) -> Returned | Raised:
        """Execute a call. Errors: RunTimedOut, ProcessCrashed. After an error the process has ended."""
        try:
            if not self._has_started:  # Until it reads, a long request would wait without a limit.
                self._reply(START_SECONDS, "did not start")
                self._has_started = True
            self._connection.send_bytes(request)
            reply = self._reply(START_SECONDS, "did not begin")
            if reply == BEGUN:
                reply = self._reply(limit, "timed out")
            answer: object = pickle.loads(reply)  # noqa: S301 - a child of this process has written it
        except RunTimedOut:
            raise  # It is an OSError, too.
        except (OSError, EOFError):
            self._process.join(END_SECONDS)
            raise ProcessCrashed(f"its process {_ending(self._process.exitcode)}") from None
        assert isinstance(answer, Returned | Raised)
        return answer

    def _reply(self, limit: float | None, what: str) -> bytes:
        """The next message. Errors: EOFError if the process has ended; RunTimedOut."""
        ready = wait([self._connection, self._process.sentinel], limit)
        if not ready:
            self.kill()
            raise RunTimedOut(f"{what} within {limit:g} s; its process was killed")
        return self._connection.recv_bytes()

    def kill(self) -> None:
        """End the process at once. May be called in any thread, and repeatedly."""
        with contextlib.suppress(ValueError):
            self._process.kill()

    def close(self) -> None:
        """Kill the process, and wait for its end."""
        self.kill()
        self._process.join(END_SECONDS)
        self._connection.close()


class ProcessCall:
    """One call, for the thread that waits for it and for the event loop that may interrupt it."""

    def __init__(self, pool: ProcessPool, request: bytes) -> None:
        self._pool = pool
        self._request = request
        self._child: Child | None = None
        self._killed = False
        self._changing = threading.Lock()

    def execute(self, limit: float | None) -> Returned | Raised:
        """Execute the call in a process. This thread waits for it. Errors: RunTimedOut, ProcessCrashed."""
        with self._pool.child() as child:
            with self._changing:
                self._child = child
                if self._killed:
                    child.kill()
            try:
                return child.call(self._request, limit)
            finally:
                with self._changing:
                    self._child = None

    def kill(self) -> None:
        """End the call and its process."""
        with self._changing:
            self._killed = True
            if self._child is not None:
                self._child.kill()


class ProcessPool:
    """Laws: there are never more processes than calls at one time, nor than `size`, and none after `close`."""

    def __init__(self, to_json: ToJson, size: int) -> None:
        self.places = asyncio.Semaphore(size)
        """A call waits for one of them."""
        self._to_json = to_json
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._changing = threading.Lock()
        self._closed = False

    @property
    def children(self) -> frozenset[Child]:
        """The processes that have been started and have not ended."""
        return frozenset(self._children)

    @contextmanager
    def child(self) -> Generator[Child]:
        """A process for one call: an idle one, or a new one. It is used again unless the call raises an error."""
        child = self._take()
        try:
            yield child
        except BaseException:
            self._drop(child)
            raise
        with self._changing:
            if not self._closed:
                self._idle.append(child)
                return
        self._drop(child)

    def close(self) -> None:
        """Kill all processes. A call that is under way fails."""
        with self._changing:
            self._closed = True
            children, idle = list(self._children), list(self._idle)
            self._idle.clear()
        for child in children:
            child.kill()  # The thread of a call that is under way drops its child itself.
        for child in idle:
            self._drop(child)
        atexit.unregister(self.close)

    def _take(self) -> Child:
        with self._changing:
            if self._closed:
                raise ProcessCrashed("its process was not started: the worker stops")
            while self._idle:
                child = self._idle.pop()
                if child.is_alive:
                    return child
                self._children.discard(child)
                child.close()
            if not self._children:
                # An interpreter that ends waits for such processes, and they end by themselves only when it is gone.
                atexit.register(self.close)
            child = Child(self._to_json)
            self._children.add(child)
            return child

    def _drop(self, child: Child) -> None:
        child.close()
        with self._changing:
            self._children.discard(child)


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended with the exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}{', as the system does when memory runs out' if name == 'SIGKILL' else ''}"


# -- in the child -------------------------------------------------------------------------------------------------


def serve(connection: Connection, to_json: ToJson) -> None:
    """The main function of the child: answer one request after the other, until the parent closes the connection."""
    # A terminal and a supervisor send these to all processes of a group. The parent decides when the child ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    threading.Thread(target=_end_with_parent, name="task-manager parent", daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(BEGUN)
        while True:
            connection.send_bytes(pickle.dumps(_answer(connection, connection.recv_bytes(), to_json)))


def _answer(connection: Connection, request: bytes, to_json: ToJson) -> Returned | Raised:
    try:
        call = found(request)
    except BaseException as error:  # noqa: BLE001 - the code of the application is imported here
        return Raised.of(error)
    connection.send_bytes(BEGUN)
    return called(call, to_json)


def _ignore(_number: int, _frame: object) -> None:
    """A handler, and not SIG_IGN: a program that the function starts gets the default again."""


def _end_with_parent() -> None:
    """A parent that was killed cannot end its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
