"""Watches the event loop of a process from another thread: it keeps the claims while the loop stands, and tells what
blocks the loop.

An `async def` that calls `time.sleep` blocks every other task of its process, and the heartbeat too. The keeper asks
the loop for a sign of life several times a heartbeat. As long as the loop answers, the keeper does nothing else: it
sends nothing to the store, and no run costs more.

The term of a leader is not kept. A leader that cannot schedule is deposed like a dead one.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta

from task_manager_core.application.attempt import Attempt, executing
from task_manager_core.application.blocked_code import blocked_code
from task_manager_core.application.worker import Worker
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.events import LoopBlocked, LoopResumed, TickFailed
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.run import Claim
from task_manager_core.ports import Backend, Clock, Membership, Observer, ReopenBackend, RunQueue

LOOKS_PER_HEARTBEAT = 3
LOOKS_PER_WARNING = 4
SHORTEST_INTERVAL = 0.01

LATE = 1.0
"""Seconds. If the keeper itself is later, the whole process stood still, and no function is to blame."""

END_SECONDS = 1.0
"""How long a stop waits for the thread."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A block that was reported. `since` is the local monotonic instant at which the loop gave no sign of life."""

    since: float
    claim: Claim | None
    line: str


class Keeper:
    """Laws: the claims of a worker are extended while its event loop stands, for the limit of the policy and no longer;
    so is the presence of a process that holds claims. The keeper sends nothing while the loop runs.

    `watch` runs in another thread than the loop. The loop calls `attach` before, and gives signs of life. The thread
    reads the claims of the worker, and changes nothing that belongs to the loop.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        worker: Worker,
        backend: Backend,
        reopen: ReopenBackend | None,
        presence: Callable[[], Presence | None],
        policy: CurrentNodePolicy,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._node = node
        self._worker = worker
        self._queue: RunQueue | None = backend.queue if backend.capabilities.extends_in_threads else None
        self._reopen = reopen
        self._membership: Membership | None = None
        self._presence = presence
        self._opened = AsyncExitStack()
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._thread = 0
        self._answered = True
        """Has the loop given the last sign of life that it was asked for?"""
        self._asked_at = self._seen_at = self._looked_at = 0.0
        """When the loop was asked, when the keeper saw the first time that it does not answer, and its last look."""
        self._extend_at = 0.0
        self._failures = 0
        self._report_after = timedelta(0)
        self._abandoned = False
        self._block: _Block | None = None
        self.last_block: LoopResumed | None = None
        """The last block that was reported, once the loop runs again."""

    @property
    def is_needed(self) -> bool:
        """Is there anything to do while the loop stands?"""
        blocking = self._policy.blocking
        return bool(blocking.warning or (blocking.limit and (self._queue or self._reopen)))

    def attach(self) -> None:
        """Watch the event loop and the thread of the caller."""
        self._loop, self._context = asyncio.get_running_loop(), contextvars.copy_context()
        self._thread = threading.get_ident()

    async def watch(self) -> None:
        """Watch until the caller cancels this, or the event loop is closed."""
        self._forget()
        self._looked_at = self._clock.monotonic()
        try:
            while self._ask():
                await asyncio.sleep(self._interval)
                await self._look()
        finally:
            await self._opened.aclose()

    # -- signs of life ------------------------------------------------------------------------------------------------

    @property
    def _interval(self) -> float:
        heartbeat, warning = self._policy.worker.heartbeat, self._policy.blocking.warning
        interval = heartbeat / LOOKS_PER_HEARTBEAT
        if warning:
            interval = min(interval, warning / LOOKS_PER_WARNING)
        return max(interval.total_seconds(), SHORTEST_INTERVAL)

    def _ask(self) -> bool:
        """Ask the loop for a sign of life, unless it has not given the last one. False: the loop is closed."""
        assert self._loop is not None
        if not self._answered:
            return not self._loop.is_closed()
        self._answered = False
        self._asked_at = self._seen_at = self._clock.monotonic()
        with suppress(RuntimeError):  # The loop is closed: the process ended without a stop of the node.
            self._loop.call_soon_threadsafe(self._answer, context=self._context)
            return True
        return False

    def _answer(self) -> None:
        """In the loop: it runs."""
        self._answered = True
        block, self._block = self._block, None
        if block is not None:
            stood = timedelta(seconds=self._clock.monotonic() - block.since)
            self.last_block = LoopResumed(
                node=self._node, claim=block.claim, line=block.line, stood=stood, at=self._clock.now()
            )
            self._observer.notice(self.last_block)

    async def _look(self) -> None:
        """Does the loop stand?"""
        now = self._clock.monotonic()
        if now - self._looked_at > self._interval + LATE:
            self._seen_at = now  # The whole process stood still. No function is to blame for that time.
        if self._answered or self._loop is None or not self._loop.is_running():
            self._forget()
        else:
            self._report(timedelta(seconds=now - self._seen_at))
            await self._keep(now)
        self._looked_at = self._clock.monotonic()

    def _forget(self) -> None:
        self._extend_at, self._failures, self._abandoned = 0.0, 0, False
        self._report_after = self._policy.blocking.warning

    # -- keeping ------------------------------------------------------------------------------------------------------

    async def _keep(self, now: float) -> None:
        """Extend the claims of the worker, unless they were extended less than a heartbeat ago."""
        if self._queue is None and self._reopen is None:
            return
        heartbeat, limit = self._policy.worker.heartbeat.total_seconds(), self._policy.blocking.limit
        stood = now - self._asked_at
        if stood >= limit.total_seconds():
            self._abandon(timedelta(seconds=stood))
            return
        claims = self._worker.claims()
        if not claims or now < self._extend_at or stood < heartbeat / LOOKS_PER_HEARTBEAT:
            return
        self._extend_at = now + heartbeat
        try:
            queue = await self._opened_queue()
            if queue is not None:
                # The loop learns itself which claims are over, when it runs again.
                await queue.extend(claims, self._policy.worker.claim_ttl)
            await self._announce()
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - the thread goes on: a block often ends before its claims
            self._failures += 1
            self._extend_at = now + heartbeat / LOOKS_PER_HEARTBEAT
            pause = timedelta(seconds=heartbeat / LOOKS_PER_HEARTBEAT)
            self._observer.notice(
                TickFailed(node=self._node, service="keeper", error=error, repeats=self._failures, retry_in=pause)
            )

    async def _opened_queue(self) -> RunQueue | None:
        """The queue through which this thread extends claims. A store is opened when it is needed for the first
        time."""
        if self._queue is None and self._reopen is not None:
            backend = await self._opened.enter_async_context(self._reopen())
            self._queue, self._membership = backend.queue, backend.membership
        return self._queue

    async def _announce(self) -> None:
        """The process lives: other processes shall not take its attempts for orphans, nor its tasks for strays."""
        presence = self._presence()
        if self._membership is not None and presence is not None:
            await self._membership.announce(presence, self._policy.presence_ttl)

    # -- reporting ----------------------------------------------------------------------------------------------------

    def _report(self, stood: timedelta) -> None:
        """Report the block when it has lasted for the length of the policy, and whenever that time has doubled."""
        if not self._report_after or stood < self._report_after:
            return
        self._report_after = 2 * stood
        self._notice(stood)

    def _abandon(self, stood: timedelta) -> None:
        """The loop has stood for too long: its claims will end."""
        if not self._abandoned and self._policy.blocking.limit:
            self._abandoned = True
            self._notice(stood)

    def _notice(self, stood: timedelta) -> None:
        claim, (line, stack) = self._claim(), self._code()
        self._block = _Block(self._asked_at, claim, line)
        self._observer.notice(
            LoopBlocked(node=self._node, claim=claim, line=line, stack=stack, stood=stood, abandoned=self._abandoned)
        )

    def _claim(self) -> Claim | None:
        """The claim of the attempt whose code the loop executes."""
        task = None if self._is_simulated else asyncio.current_task(self._loop)
        if task is None:
            return None
        attempt = next((one for one in self._worker.attempts if one.task is task), None) or _attempt_in(task)
        return None if attempt is None else attempt.claim

    def _code(self) -> tuple[str, str]:
        if self._is_simulated:
            return "", ""
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented, and there is no other way
        return blocked_code(frames.get(self._thread))

    @property
    def _is_simulated(self) -> bool:
        """Does the keeper share a thread with the loop, as in a simulation?"""
        return self._thread == threading.get_ident()


if sys.version_info >= (3, 12):

    def _attempt_in(task: asyncio.Task[object]) -> Attempt | None:
        """The attempt that has begun this task. Tasks inherit the context of the code that begins them."""
        return task.get_context().get(executing)

else:

    def _attempt_in(task: asyncio.Task[object]) -> Attempt | None:
        """Python 3.11 does not show the context of a task."""
        del task
        return None


class KeeperThread:
    """A thread with an event loop of its own, in which a keeper watches the loop that starts it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._ended: Future[None] = Future()
        self._stop: Callable[[], object] = _nothing
        self._stopped = False

    def start(self) -> None:
        self._keeper.attach()
        threading.Thread(target=self._run, name="task-manager keeper", daemon=True).start()

    async def stop(self) -> None:
        """End the thread. A request that it waits for is cancelled."""
        self._stopped = True
        self._stop()
        await asyncio.wait({asyncio.wrap_future(self._ended)}, timeout=END_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        finally:
            self._ended.set_result(None)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        watching = loop.create_task(self._keeper.watch())

        def stop() -> None:
            with suppress(RuntimeError):  # The loop of the thread is closed.
                loop.call_soon_threadsafe(watching.cancel)

        self._stop = stop
        if self._stopped:
            watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _nothing() -> None:
    """The thread has not begun yet."""
