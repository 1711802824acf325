"""An asyncio event loop in virtual time. Several simulated processes take turns in it.

A *node* is one simulated process: the tasks, callbacks and timers that carry its name in the context variable `node`.

- **FIFO inside a node, chance between nodes.** asyncio promises the order of `call_soon` within one loop, and
  production code may rely on it. Between processes every interleaving is legal: the `Decider` picks the node that runs
  next.
- **Option 0 is the node that is running.** A calm decider lets each node run until it waits, then the next in order of
  arrival. Every other answer is a preemption. A node that only yields (`sleep(0)`) and never waits keeps the others
  from running, and time from moving, until the budget ends. To wait for another node, let time pass.
- **Time moves only when no node can run.** Then it moves to the next timer. Steps take no time.
- **Kill is kill -9.** The queue of the node is dropped: no cancellation, no `except`, no `finally`. The step that is
  running ends at its next `await`. The name dies with the node: the next process of `w0` is called, say, `w0#2`.
- **Pause is SIGSTOP.** The node stands still. When it continues, it first runs everything that fell due meanwhile, in
  order.
- **Thread work runs inline**, as one step of the node that asked for it. It takes no virtual time. It must not wait for
  the loop, because the loop waits for it.
- **Nothing leaks.** Sockets, subprocesses, signals and callbacks from foreign threads raise `SimLeak`. The run fails
  with it even if the code under test swallows the exception.
- **The end kills every node.** First the result is fixed and the loop is closed. Then the coroutines that are left over
  are closed, in the context of their node. They can schedule nothing, and a simulated port that asks `is_dead` refuses
  their requests. A `finally` block may still change plain objects of the test; the test must ignore that.

The same decisions give the same trace, in every Python process and with every hash seed. Tasks and futures hash by
sequence. Finished tasks are forgotten at fixed points. The garbage collector, which would run `finally` blocks at
arbitrary moments, is off during `run_simulation`. `asyncio.all_tasks()` sees the tasks of all live nodes.

The private names of asyncio used here (`_run_once`, `_stopping`, `_closed`, `_debug` and `_timer_handle_cancelled` of
the loop, `_run` of its handles, `_exception`, `_log_traceback` and `_log_destroy_pending` of tasks) are the same in
CPython 3.11 to 3.14.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
from collections.abc import Callable, Coroutine, Generator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from task_manager_core.testing.cluster.failures import SimBudget, SimDeadlock, Unhandled
from task_manager_core.testing.cluster.process import (
    ENVIRONMENT,
    LoopProcess,
    SimFuture,
    SimTask,
    SimTimer,
    label_of,
    node,
)
from task_manager_core.testing.cluster.sealed import SealedLoop
from task_manager_core.testing.cluster.trace import Trace

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from task_manager_core.testing.cluster.decider import Decider

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

DEFAULT_BUDGET = 5_000_000  # steps: about half a minute of real time

_CANCELLED_TIMERS = 512  # with fewer it is not worth while to sweep them out of the heap


class SimLoop(SealedLoop):
    """The event loop of a simulation, as the module describes it. It belongs to the thread that made it.

    `on_step`, if set, is called after every step. If it raises, the run ends at once.
    """

    _closed: bool
    _debug: bool
    _stopping: bool

    def __init__(self, decider: Decider, *, max_steps: int = DEFAULT_BUDGET, keep_lines: int = 20) -> None:
        super().__init__()
        self.decider = decider
        self.max_steps = max_steps
        self.steps = 0
        self.unhandled: list[Unhandled] = []
        self.on_step: Callable[[], None] | None = None
        self._draw_number = count(1).__next__
        self._now = 0.0
        self._stamp = repr(self._now)
        self._timers: list[tuple[float, int, SimTimer, LoopProcess, str]] = []
        self._timer_order = count()
        self._cancelled_timers = 0
        self._acting = LoopProcess(ENVIRONMENT)
        self._nodes = {ENVIRONMENT: self._acting}
        self._able: list[LoopProcess] = []
        self.trace = Trace(keep=keep_lines)

    # --- nodes -------------------------------------------------------------------------------------------------------

    def spawn(self, name: str, coro: Coroutine[Any, Any, _T]) -> SimTask[_T]:
        """Start a coroutine on a node; the first one starts the node. Like a process, it inherits no context."""
        if name in self._nodes and self._nodes[name].dead:
            coro.close()
            msg = f"node {name!r} is dead; give its next process another name, such as {name + '#2'!r}"
            raise ValueError(msg)
        context = contextvars.Context()
        context.run(node.set, name)
        return self.create_task(coro, context=context)

    def kill(self, name: str) -> None:
        """Kill -9: no code of this node ever runs again, not even cleanup. To kill a dead node changes nothing."""
        victim = self._known(name)
        if victim.dead:
            return
        self._unlist(victim)
        victim.dead = True
        self.trace.write(self._stamp, name, "<kill>")
        for task in victim.tasks:
            if not task.done():
                # Otherwise asyncio.Runner would wait for it when it cancels the tasks that are left.
                asyncio.tasks._unregister_task(task)  # pyright: ignore[reportPrivateUsage]  # documented for loop authors

    def pause(self, name: str) -> None:
        """SIGSTOP: the node stands still until `resume`. The step that is running ends first."""
        victim = self._known(name)
        if not victim.dead and not victim.paused:
            victim.paused = True
            self._unlist(victim)
            self.trace.write(self._stamp, name, "<pause>")

    def resume(self, name: str) -> None:
        """SIGCONT: the node continues, first with what fell due meanwhile."""
        victim = self._known(name)
        if not victim.dead and victim.paused:
            victim.paused = False
            if victim.queue:
                victim.listed = True
                self._able.append(victim)
            self.trace.write(self._stamp, name, "<resume>")

    def is_dead(self, name: str) -> bool:
        """Whether a node was killed. At the end of the simulation all nodes are."""
        return name in self._nodes and self._nodes[name].dead

    def is_paused(self, name: str) -> bool:
        """Whether a node stands still."""
        return name in self._nodes and self._nodes[name].paused

    @property
    def acting(self) -> str:
        """The node whose step is running, or ran last."""
        return self._acting.name

    def _known(self, name: str) -> LoopProcess:
        if name not in self._nodes:
            msg = f"no node {name!r} was ever spawned; there are {', '.join(map(repr, self._nodes))}"
            raise ValueError(msg)
        return self._nodes[name]

    def _node_of(self, context: contextvars.Context | None) -> LoopProcess:
        name = node.get() if context is None else context.get(node, ENVIRONMENT)
        return self._nodes.get(name) or self._nodes.setdefault(name, LoopProcess(name))

    def _unlist(self, unable: LoopProcess) -> None:
        if unable.listed:
            unable.listed = False
            self._able.remove(unable)

    # --- scheduling --------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback on the node of its context."""
        if self._closed or self._debug:
            self._vet(callback)
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(self._node_of(context), handle, label_of(callback))
        return handle

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer. Timers of one instant keep their order inside a node."""
        if self._closed or self._debug:
            self._vet(callback)
        timer = SimTimer(when, callback, args, self, context)
        timer.held = True
        heappush(self._timers, (when, next(self._timer_order), timer, self._node_of(context), label_of(callback)))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer relative to now."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(
        self,
        coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        eager_start: bool | None = None,
    ) -> SimTask[_T]:
        """Create a task on the node of its context. Eager ones are refused: no decider could delay their first step."""
        if self._closed or eager_start:
            coro.close()
            raise RuntimeError("Event loop is closed" if self._closed else "no eager tasks in a simulation")
        number = self._draw_number()
        home = contextvars.copy_context() if context is None else context
        owner = self._node_of(home)
        # The default names of asyncio count in the whole Python process, and would differ from run to run.
        known_as = f"{owner.name}/{number}" if name is None else str(name)
        task = SimTask(coro, loop=self, name=known_as, number=number, context=home)
        owner.adopt(task)
        return task

    def set_task_factory(self, factory: object) -> None:
        """Refuse all but None: the loop must make its tasks itself."""
        if factory is not None:
            raise RuntimeError("a simulation makes its tasks itself")

    def create_future(self) -> asyncio.Future[Any]:
        """Create a future that has the same place in a set in every run."""
        future: SimFuture[Any] = SimFuture(loop=self)
        future.draw_number = self._draw_number
        return future

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - there are no threads here
        func: Callable[[*_Ts], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """Call the function in a step of its own on this node."""
        future: asyncio.Future[_T] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - every error belongs to the caller
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(work)
        return future

    def _vet(self, callback: object) -> None:
        """The checks of asyncio's debug mode, and of a closed loop."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        self._stay_in_thread()
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback) or not callable(callback):
            msg = f"a plain callable was expected, got {callback!r}"
            raise TypeError(msg)

    def _enqueue(self, owner: LoopProcess, handle: asyncio.Handle, label: str) -> None:
        if owner.dead:
            return
        owner.queue.append((handle, label))
        if not owner.listed and not owner.paused:
            owner.listed = True
            self._able.append(owner)

    def _timer_handle_cancelled(self, timer: SimTimer) -> None:
        """Called by the timer. Sweep if most timers are cancelled: every `asyncio.timeout` that was met leaves one."""
        if not timer.held:
            return
        self._cancelled_timers += 1
        if self._cancelled_timers > _CANCELLED_TIMERS and 2 * self._cancelled_timers > len(self._timers):
            # In place, because the running loop holds the list. This timer is not marked yet.
            self._timers[:] = [entry for entry in self._timers if not (entry[2] is timer or entry[2].cancelled())]
            heapify(self._timers)
            self._cancelled_timers = 0

    # --- the loop ----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run until stopped. The hot path: every simulated event passes here."""
        able, timers, choose = self._able, self._timers, self.decider.choose
        while not self._stopping:
            if timers and timers[0][0] <= self._now:
                self._queue_due_timers()
            if not able:
                self._advance()
                continue
            if len(able) > 1:
                chosen = choose(len(able))
                if chosen:
                    able.insert(0, able.pop(chosen))
            self._acting = acting = able[0]
            handle, label = acting.queue.popleft()
            try:
                if not handle.cancelled():
                    self._count_step(acting.name, label)
                    handle._run()  # pyright: ignore[reportPrivateUsage]  # what every loop calls
            finally:
                # Only now: a node that queued more for itself keeps its place at the head.
                if acting.listed and not acting.queue:
                    self._unlist(acting)
            if self._failure is not None:
                self._raise_failure()
            if self.on_step is not None:
                self.on_step()
        self._raise_failure()

    def _count_step(self, name: str, label: str) -> None:
        self.steps += 1
        if self.steps > self.max_steps:
            raise SimBudget(steps=self.max_steps, time=self._now)
        self.trace.write(self._stamp, name, label)

    def _queue_due_timers(self) -> None:
        """Queue the due timers on their nodes."""
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            _, _, timer, owner, label = heappop(timers)
            timer.held = False
            if timer.cancelled():
                self._cancelled_timers -= 1
            else:
                self._enqueue(owner, timer, label)

    def _advance(self) -> None:
        """Move time to the next timer of a live node. Time moves nowhere else."""
        timers = self._timers
        while timers and (timers[0][2].cancelled() or timers[0][3].dead):
            timer = heappop(timers)[2]
            timer.held = False
            self._cancelled_timers -= timer.cancelled()
        if not timers or timers[0][0] == math.inf:
            self._raise_failure()
            raise self._deadlock()
        self._now = timers[0][0]
        self._stamp = repr(self._now)

    def trace_hash(self) -> str:
        """A digest of all steps so far: when, on which node, which callback."""
        return self.trace.digest()

    def _deadlock(self) -> SimDeadlock:
        alive = [one for one in self._nodes.values() if not one.dead]
        return SimDeadlock(
            time=self._now,
            paused=tuple(one.name for one in alive if one.paused),
            dead=tuple(one.name for one in self._nodes.values() if one.dead),
            waiting=tuple(f"{one.name}:{task.label}" for one in alive for task in one.tasks if not task.done()),
        )

    # --- errors ------------------------------------------------------------------------------------------------------

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Collect the error. A handler that the code under test has installed is called, too."""
        if self._closed:
            return
        self._note(self.acting, str(context.get("message")), context.get("exception"))
        if self.get_exception_handler() is not None:
            super().call_exception_handler(context)

    def _note(self, name: str, message: str, error: BaseException | None) -> None:
        self.unhandled.append(Unhandled(node=name, time=self._now, message=message, error=error))

    # --- the end -----------------------------------------------------------------------------------------------------

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: generators that are left over end by a kill, like everything else."""

    def close(self) -> None:
        """Close the loop, kill every node and close the coroutines that are left."""
        if self.is_running() or self._closed:
            super().close()
            return
        for one in self._nodes.values():
            for task in one.tasks if not one.dead and not one.queue else ():
                if task.forgotten_error is not None:
                    self._note(one.name, f"no code asked for the error of {task.label}", task.forgotten_error)
        super().close()
        for one in self._nodes.values():
            one.dead = True
        self._able.clear()
        for one in self._nodes.values():
            for task in one.tasks:
                task.abandon()
        for one in self._nodes.values():
            one.tasks.clear()
            one.queue.clear()
        self._timers.clear()
