"""Traces of runs with OpenTelemetry: the only module that imports it, and only `Config(tracing=True)` imports this one.

The span of a dispatch (PRODUCER) ends when the store has accepted the run, which carries the trace context of the span.
Each attempt is the root span (CONSUMER) of a trace of its own. It links to the dispatch, and to the attempt before,
whose trace context stands in the history. Names and attributes are those of the semantic conventions for messaging:
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import zip_longest
from typing import TypeAlias

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer

import task_manager_core
from fastapi_task_manager.observers.logs import logger_of
from task_manager_core.application.attempt import Attempt
from task_manager_core.application.failure import failure_of
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.run import Claim, Run
from task_manager_core.domain.trace import is_trace
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Backend, Dispatch, Enqueued, History, RunQueue

SYSTEM = "task_manager"
"""The value of `messaging.system`."""

LINES_READ = 50
"""The newest lines of the task that are searched for the attempt before. If it is in none of them, there is no link."""

LONGEST_READING = 1.0
"""Seconds. A retried attempt starts without a link if the store does not answer in this time."""

_Attributes: TypeAlias = Mapping[str, str | int | float]

_log: logging.Logger = logger_of("runner")


def tracer() -> Tracer:
    """The tracer of the provider that the application has set."""
    return trace.get_tracer("hexagonal-task-manager", task_manager_core.__version__)


def traced(backend: Backend, tracer: Tracer) -> Backend:
    """The same store, which traces what is dispatched."""
    return replace(
        backend,
        dispatch=_TracedDispatch(backend.dispatch, tracer),
        queue=_TracedQueue(backend.queue, tracer),
    )


class TracedAttempts:
    """Executes the function of each attempt in a span, so that the spans of the function are its children.

    An error of the tracing is logged. It is no failure of the task.
    """

    def __init__(self, history: History, tracer: Tracer) -> None:
        self._history = history
        self._tracer = tracer

    async def begin(self, attempt: Attempt) -> Callable[[BaseException | None], None]:
        claim = attempt.claim
        links = [*_link(claim.run.trace, "dispatch"), *_link(await self._trace_before(claim), "previous_attempt")]
        try:
            # An empty context: whatever is current in this process has not caused the attempt.
            span = self._tracer.start_span(
                f"process {claim.run.task}", Context(), SpanKind.CONSUMER, _of_attempt(attempt), links
            )
            attempt.trace = _text_of(span)
            token = context.attach(trace.set_span_in_context(span))
        except Exception:  # noqa: BLE001 - an exporter of the application may raise anything
            _log.exception("an attempt is not traced")
            return _nothing

        def end(error: BaseException | None) -> None:
            try:
                if not isinstance(error, GeneratorExit):  # The event loop was closed, and this is another context.
                    context.detach(token)
                _end(span, attempt, error)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("an attempt is not traced")

        return end

    async def _trace_before(self, claim: Claim) -> str | None:
        """The trace context of the last attempt that has one."""
        if claim.attempt == 1:
            return None
        try:
            async with asyncio.timeout(LONGEST_READING):
                lines = await self._history.read(claim.run.task, LINES_READ)
        except (BackendError, TimeoutError):
            return None
        return next((line.trace for line in lines if line.run == claim.run.id and line.trace is not None), None)


class _TracedDispatch:
    """Gives the runs of each decision their trace contexts."""

    def __init__(self, dispatch: Dispatch, tracer: Tracer) -> None:
        self._dispatch = dispatch
        self._tracer = tracer
        self.agenda = dispatch.agenda
        self.pause = dispatch.pause
        self.resume = dispatch.resume

    async def anticipate(self, decisions: Sequence[SlotDecision]) -> None:
        """The decisions will be others when they are committed: the store need not prepare these."""
        if not decisions:
            await self._dispatch.anticipate(decisions)

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        spans = [_Dispatching(self._tracer) for _ in decisions]
        stamped = [one.stamp_decision(decision) for one, decision in zip(spans, decisions, strict=True)]
        try:
            answer = await self._dispatch.commit(term, stamped)
        except BaseException as error:
            for one in spans:
                one.end(error)  # It may have taken effect.
            raise
        if not isinstance(answer, Fenced):
            for one, kept in zip(spans, answer, strict=True):
                if kept:
                    one.end()  # The span of a decision that was not kept does not end, and so is not exported.
        return answer


class _TracedQueue:
    """Gives the runs of each request their trace contexts. The span of the caller is the parent of the dispatch."""

    def __init__(self, queue: RunQueue, tracer: Tracer) -> None:
        self._queue = queue
        self._tracer = tracer
        self.claim = queue.claim
        self.extend = queue.extend
        self.report = queue.report
        self.settle = queue.settle
        self.release = queue.release
        self.reap = queue.reap
        self.cancel = queue.cancel
        self.promote = queue.promote

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        spans = _Dispatching(self._tracer)
        stamped = [spans.stamp(run) for run in runs]
        try:
            answer = await self._queue.enqueue(stamped, asked, memory, delay)
        except BaseException as error:
            spans.end(error)
            raise
        spans.end(answers=None if isinstance(answer, AskedOtherwise) else answer)
        return answer


class _Dispatching:
    """The spans of runs that are dispatched together."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._spans: list[Span] = []

    def stamp(self, run: Run) -> Run:
        span = self._tracer.start_span(f"dispatch {run.task}", None, SpanKind.PRODUCER, _of_dispatch(run))
        self._spans.append(span)
        return replace(run, trace=_text_of(span))

    def stamp_decision(self, decision: SlotDecision) -> SlotDecision:
        return replace(
            decision,
            dispatch=tuple(self.stamp(run) for run in decision.dispatch),
            hold=None if decision.hold is None else self.stamp(decision.hold),
        )

    def end(self, error: BaseException | None = None, answers: Sequence[Enqueued] | None = None) -> None:
        for span, answer in zip_longest(self._spans, answers or ()):
            if answer is not None:
                span.set_attribute("task_manager.answer", answer.value)
            if error is not None:
                _set_error(span, error)
            span.end()


def _end(span: Span, attempt: Attempt, error: BaseException | None) -> None:
    if isinstance(error, asyncio.CancelledError) and attempt.interruption is not None:
        span.set_attribute("task_manager.interruption", attempt.interruption.value)
    elif error is not None:
        _set_error(span, error)
    span.end()


def _set_error(span: Span, error: BaseException) -> None:
    failure = failure_of(error)  # Its texts are bounded, and it shows every exception.
    span.add_event(
        "exception",
        {
            "exception.type": failure.type,
            "exception.message": failure.message,
            "exception.stacktrace": failure.traceback,
        },
    )
    span.set_attribute("error.type", failure.type)
    span.set_status(StatusCode.ERROR, failure.message)


def _of_dispatch(run: Run) -> _Attributes:
    return {**_of_run(run), "messaging.operation.name": "dispatch", "messaging.operation.type": "send"}


def _of_attempt(attempt: Attempt) -> _Attributes:
    claim = attempt.claim
    slot = claim.run.slot
    late = (
        {} if slot is None else {"task_manager.lateness_ms": (attempt.started_at - slot) // timedelta(milliseconds=1)}
    )
    return {
        **_of_run(claim.run),
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "task_manager.attempt": claim.attempt,
        "task_manager.fencing_token": claim.token,
        "task_manager.worker": claim.worker.value,
        **late,
    }


def _of_run(run: Run) -> dict[str, str | int | float]:
    about: dict[str, str | int | float] = {
        "messaging.system": SYSTEM,
        "messaging.destination.name": str(run.task),
        "messaging.message.id": run.id.value,
    }
    if run.slot is not None:
        about |= {"faas.trigger": "timer", "task_manager.slot": run.slot.isoformat()}
    return about


def _text_of(span: Span) -> str | None:
    """The trace context of a span. None without an SDK, whose place a span without ids takes."""
    found = span.get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def _link(text: str | None, to: str) -> list[Link]:
    if text is None or not is_trace(text):
        return []
    _, trace_id, span_id, flags = text.split("-")
    target = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return [Link(target, {"task_manager.link": to})]


def _nothing(_error: BaseException | None) -> None:
    """There is no span to end."""
