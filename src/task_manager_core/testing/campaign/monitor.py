"""Watches a cluster: keeps the model, asks the checkers, counts what was covered and writes the timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import Event, TickFailed
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.run import Outcome
from task_manager_core.testing.campaign.apply import apply
from task_manager_core.testing.campaign.checkers import Checker, Records
from task_manager_core.testing.campaign.coverage import Coverage
from task_manager_core.testing.campaign.model import (
    ClusterModel,
    Conclusion,
    DeclaredByNode,
    ModelExecution,
    StoreModel,
)
from task_manager_core.testing.campaign.timeline import Timeline
from task_manager_core.testing.campaign.violation import Violation
from task_manager_core.testing.cluster.effects import Effect, MemoryRead, Settled, SettlementRefused
from task_manager_core.testing.cluster.watcher import Watched, Watcher

T = TypeVar("T")


class Monitor(Watcher):
    """The watcher of a campaign. The first violation ends the simulation with the timeline."""

    _cluster: Watched

    def __init__(self, checkers: Sequence[Checker], *, keep_lines: int = 200) -> None:
        self.checkers = tuple(checkers)
        self.coverage = Coverage()
        self.timeline = Timeline(keep_lines)
        self.model = ClusterModel(claim_ttl=timedelta(0))

    def attach(self, cluster: Watched) -> None:
        self._cluster = cluster
        self.model.claim_ttl = cluster.policy.worker.claim_ttl
        self.model.grace = cluster.policy.grace
        self.model.block_limit = cluster.policy.blocking.limit

    def update_time(self) -> None:
        """Set the model to the present: what is judged next happens now."""
        clock, store = self._cluster.store_clock, self.model.store
        before, (at, shown) = store.clock - store.at, (clock.steady(), clock.now())
        if abs(shown - at - before) > timedelta(milliseconds=10):
            store.clock_set_at = at
        store.at, store.clock = at, shown

    def fail(self, violation: Violation) -> None:
        """End the simulation with this violation. Code that catches the exception cannot prevent it."""
        violation.add_note("\n".join(self.timeline.lines()))
        self._cluster.fail(violation)

    # -- what a cluster reports ---------------------------------------------------------------------------------------

    def booted(self, machine: str, node: Node, declarations: Declarations) -> None:
        del machine
        self.model.declared[node.id] = DeclaredByNode(
            tasks=frozenset(declarations.declared), functions=declarations.functions
        )
        self.model.duties[node.id] = node.duties
        self.note(node.id.value, "boots")

    def ended(self, process: str) -> None:
        self.model.blocked.pop(process, None)
        for execution in self.model.executions.values():
            if execution.node == process and execution.ended is None:
                execution.ended = "died"

    def note(self, source: str, text: object) -> None:
        self.timeline.add(self._cluster.time, source, text)

    def blocked(self, process: str, seconds: float) -> None:
        self.note(process, f"its event loop is blocked for {seconds:g} s")
        self.update_time()
        self.model.blocked[process] = self.model.at

    def unblocked(self, process: str) -> None:
        self.note(process, "its event loop goes on")
        self.model.blocked.pop(process, None)

    def copy(self) -> StoreModel:
        return self.model.store.copy()

    def restore(self, copy: object) -> None:
        assert copy is None or isinstance(copy, StoreModel)
        self.model.replace_store(copy)

    def observe(self, process: str, operation: str, effects: Iterable[Effect]) -> None:
        model, changed = self.model, False
        settled: Counter[TaskKey] = Counter()
        model.node = process
        self.update_time()
        try:
            for effect in effects:
                self.note(process, effect)
                for checker in self.checkers:
                    checker.judge(effect, model)
                apply(effect, model.store)
                self._count(effect, settled)
                self.coverage.count_effect(effect)
                changed = True
            if changed and not any(run.is_due(model.at) for run in model.store.runs()):
                # A snapshot moves the runs that are due. It would hide that no operation moves them.
                self._compare()
            if changed:
                self._inspect(settled)
        except Violation as violation:
            self.fail(violation)
            raise
        self.coverage.count(f"operation: {operation}")

    def _count(self, effect: Effect, settled: Counter[TaskKey]) -> None:
        """Count what outlives the store. `settled` counts the settlements of the present operation."""
        match effect:
            case Settled(settlement=settlement):
                self.model.accepted[Conclusion.of(settlement)] += 1
                settled[settlement.claim.run.task] += 1
            case SettlementRefused(settlement=settlement):
                settled[settlement.claim.run.task] += 1
            case MemoryRead(key=key, memory=memory):
                self.model.answers.setdefault((self.model.node, key), []).append(memory.cursor)
            case _:
                pass

    def _compare(self) -> None:
        snapshot = _answer_at_once(self._cluster.backend.history.snapshot())
        for checker in self.checkers:
            checker.compare(snapshot, self.model)

    def _inspect(self, settled: Counter[TaskKey]) -> None:
        history = self._cluster.backend.history
        runs = [(run.run.task, run.run.id) for run in self.model.store.runs()]
        progress = _answer_at_once(history.progress(runs))
        records = Records(
            memories={key: _answer_at_once(history.memory(key)) for key in self.model.store.tasks},
            progress={run: shown for (_, run), shown in zip(runs, progress, strict=True)},
            lines={key: _answer_at_once(history.read(key, number)) for key, number in settled.items()},
        )
        for checker in self.checkers:
            checker.inspect(records, self.model)

    def notice(self, process: str, event: Event) -> None:
        self.update_time()
        try:
            if isinstance(event, TickFailed):
                self.note(process, f"{event.service} failed: {event.error}")
                if not isinstance(event.error, (BackendError, TimeoutError)):
                    raise Violation("code", f"{event.service} of {process} raised {event.error!r}")
            for checker in self.checkers:
                checker.notice(event, self.model)
        except Violation as violation:
            self.fail(violation)
            raise

    # -- what a plan and its functions report -------------------------------------------------------------------------

    def asked_for_later(self, run: RunId, delay: timedelta, *, own_expiry: bool) -> None:
        """A person asks for this run with a delay, and perhaps with an expiry of its own. A repetition of the request
        does not change its instant."""
        self.update_time()
        self.model.earliest.setdefault(run, self.model.at + delay)
        if own_expiry:
            self.model.own_expiries.add(run)

    def reads(self, execution: ModelExecution) -> None:
        """A function begins to read its cursor."""
        execution.answers_before = len(self.model.answers.get((execution.node, execution.task), ()))

    def read(self, execution: ModelExecution, cursor: str | None) -> None:
        """It has read the cursor: its JSON."""
        self._judged(lambda checker: checker.read(execution, cursor, self.model))
        if cursor is not None:
            self.coverage.count("cursor read")

    def called(self, context: RunContext, outcome: type[Outcome]) -> None:
        """A process calls a callback, because it knows of this outcome."""
        conclusion = Conclusion(context.worker, RunId(context.run_id), context.fencing_token, outcome)
        self.note(context.worker, f"calls back that {context.task} {context.slot} has {outcome.__name__}")
        self._judged(lambda checker: checker.call(conclusion, self.model))
        self.model.called[conclusion] += 1
        self.coverage.count(f"callback: {outcome.__name__}")

    def begin(self, context: RunContext, *, limit: int | None) -> ModelExecution:
        """A worker calls a function of the user. The function sets `ended` of the answer when it ends."""
        run = RunId(context.run_id)
        execution = ModelExecution(
            node=context.worker,
            task=context.task,
            run=run,
            attempt=context.attempt,
            token=context.fencing_token,
            limit=limit,
        )
        self.note(context.worker, f"executes {context.task} {context.slot} attempt {context.attempt}")
        self._judged(lambda checker: checker.begin(execution, self.model))
        if run in self.model.earliest:
            self.coverage.count("delayed run started")
        key = (run, context.fencing_token, context.worker)
        self.model.executions[key] = execution
        self.model.started.add(key)
        return execution

    def _judged(self, judge: Callable[[Checker], None]) -> None:
        self.update_time()
        try:
            for checker in self.checkers:
                judge(checker)
        except Violation as violation:
            self.fail(violation)
            raise


def _answer_at_once(reading: Coroutine[Any, Any, T]) -> T:
    """The answer of a verb that does not wait."""
    try:
        reading.send(None)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    reading.close()
    raise TypeError("a simulated store must answer in one step")
