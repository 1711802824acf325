"""Requests of code for one run, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.newest_lines import newest_lines
from task_manager_core.domain.errors import InvalidPolicy, RequestReused, RunNotFound, TaskNotFound
from task_manager_core.domain.identity import RunId, TaskKey, fingerprint
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Run, RunState
from task_manager_core.domain.task import VersionedDefinition, canonical_kwargs
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Backend, Enqueued

_ENDS: dict[AttemptStatus, RunState] = {
    AttemptStatus.SUCCEEDED: RunState.SUCCEEDED,
    AttemptStatus.FAILED: RunState.FAILED,
    AttemptStatus.CANCELLED: RunState.CANCELLED,
    AttemptStatus.EXPIRED: RunState.EXPIRED,
    # After these two another attempt follows, unless the cancellation of the run was requested.
    AttemptStatus.RETRIED: RunState.CANCELLED,
    AttemptStatus.LOST: RunState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How one requested run differs from the other runs of its task. None: as the task says.

    `start` is the first instant at which a worker may claim the run, or its distance from the request. An instant in
    the past means now. `expires` is the last instant at which the run may start, or its distance from that first one;
    it replaces `expires` of the task. `queue` is the queue of this run.
    """

    start: datetime | timedelta = timedelta(0)
    priority: Priority | None = None
    expires: datetime | timedelta | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """The state of a run, and the line of its last attempt if the run has ended."""

    state: RunState
    record: AttemptRecord | None = None


class RequestedRuns:
    """Queues the runs that callers ask for, and tells what became of a single one.

    It ends no backoff: another run of the task, with other arguments, may wait for its retry.
    """

    def __init__(self, *, backend: Backend, declarations: Declarations) -> None:
        self._backend = backend
        self._declarations = declarations

    async def queue(
        self,
        stored: VersionedDefinition,
        request: str,
        kwargs: Mapping[str, object] | None = None,
        options: RunOptions = RunOptions(),
        memory: timedelta = REQUEST_MEMORY,
    ) -> RunId:
        """Queue one run of a task. `kwargs` replace the arguments of the task for this run.

        Errors: InvalidArguments; RequestReused; TaskNotFound if the task was removed meanwhile.
        """
        ((run, answer),) = await self.enqueue([stored], request, kwargs, options, memory)
        if answer is Enqueued.UNKNOWN_TASK:
            raise TaskNotFound(run.task.group, run.task.name)
        return run.id

    async def enqueue(
        self,
        stored: Sequence[VersionedDefinition],
        request: str,
        kwargs: Mapping[str, object] | None = None,
        options: RunOptions = RunOptions(),
        memory: timedelta = REQUEST_MEMORY,
    ) -> tuple[tuple[Run, Enqueued], ...]:
        """Queue one run of each task, and return the runs with the answers of the store.

        Errors: InvalidArguments, InvalidPolicy, RequestReused: then none is queued.
        """
        text = None if kwargs is None else canonical_kwargs(kwargs)
        asked = [self._run(one, request, kwargs, text) for one in stored]
        runs, delay = await self._with_options(stored, asked, options)
        answers = await self._backend.queue.enqueue(runs, fingerprint(text), memory, delay)
        if isinstance(answers, AskedOtherwise):
            raise RequestReused(request, tuple(str(run.task) for run in runs if run.id in answers.runs))
        return tuple(zip(runs, answers, strict=True))

    def _run(
        self, stored: VersionedDefinition, request: str, kwargs: Mapping[str, object] | None, text: str | None
    ) -> Run:
        """The requested run of a task. A task without a schedule may have left its arguments to this request; those of
        the others were checked when they were defined. Errors: InvalidArguments."""
        run = stored.definition.run_of_request(request, stored.version, text)
        function = self._declarations.function_of(run)
        if function is not None and kwargs is not None:
            function.check(dict(kwargs))
        elif function is not None and not stored.definition.schedule.rules:
            function.check_text(run.kwargs)
        return run

    async def status(self, key: TaskKey, run: RunId) -> RunStatus:
        """The present state of a run. Errors: RunNotFound."""
        snapshot = await self._backend.history.snapshot([key])
        live = (one for view in snapshot.tasks for one in view.live if one.run == run)
        found = next(live, None)
        if found is not None:
            return RunStatus(state=found.state)
        # The store writes the last line in the step that ends the run, so it was written before this reading.
        lines = await newest_lines(self._backend.history, key, lambda some: any(line.run == run for line in some))
        record = next((line for line in lines if line.run == run), None)
        if record is None:
            raise RunNotFound(run.value)
        return RunStatus(state=_end_of(record), record=record)

    async def progress(self, key: TaskKey, run: RunId) -> Progress | None:
        """What the attempt that holds the run has reported. None if no attempt holds it, or nothing was reported."""
        (reported,) = await self._backend.history.progress([(key, run)])
        return reported

    async def _with_options(
        self, stored: Sequence[VersionedDefinition], runs: Sequence[Run], options: RunOptions
    ) -> tuple[list[Run], timedelta]:
        """The runs and their delay, by the time of the store. Errors: InvalidPolicy."""
        delay = options.start
        expiries = [one.definition.expires if options.expires is None else options.expires for one in stored]
        last: list[datetime | None] = [one if isinstance(one, datetime) else None for one in expiries]
        if isinstance(delay, datetime) or any(isinstance(one, timedelta) for one in expiries):
            now = (await self._backend.dispatch.agenda(0)).now
            delay = max(delay - now, timedelta(0)) if isinstance(delay, datetime) else delay
            last = [now + delay + one if isinstance(one, timedelta) else one for one in expiries]
        limited = next((run for run in runs if run.live_limit is not None), None)
        if delay > timedelta(0) and limited is not None:
            most = "one live run" if limited.live_limit == 1 else f"at most {limited.live_limit} live runs"
            reason = f"{limited.task} has {most} at a time, and a run that waits would keep its other runs waiting"
            raise InvalidPolicy("delay", delay.total_seconds(), reason)
        if options == RunOptions() and not any(last):
            return list(runs), delay
        changed = [
            replace(
                run,
                priority=options.priority or run.priority,
                start_by=start_by,
                queue=options.queue or run.queue,
            )
            for run, start_by in zip(runs, last, strict=True)
        ]
        return changed, delay


def _end_of(record: AttemptRecord) -> RunState:
    """How a run ended whose last line this is. A store that has lost the text of a run ends it with a line LOST that
    has no token."""
    if record.status is AttemptStatus.LOST and record.token == 0:
        return RunState.FAILED
    return _ENDS[record.status]
