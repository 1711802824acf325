"""Events as log lines. The application sets the levels: none is set here."""

from __future__ import annotations

import logging
from typing import assert_never

from fastapi_task_manager.observers.task_errors import last_error, loggable
from task_manager_core.application.log_fields import fields_of_claim, fields_of_run, fields_of_task
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import (
    CatalogueChanged,
    ClaimLost,
    ClaimReaped,
    DefinitionKept,
    Event,
    FindingMade,
    GapFound,
    LoopBlocked,
    LoopResumed,
    RunOverran,
    RunReleased,
    RunSettled,
    RunStarted,
    ScheduleChanged,
    SlotsDecided,
    StoreSetBack,
    TermEnded,
    TermWon,
    TickFailed,
    TickRecovered,
    ValueSetAside,
    WriteFenced,
)
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.reconciliation import Finding, Orphaned, Overdue, Stray
from task_manager_core.domain.recurrence import Cron, Fold, Gap
from task_manager_core.domain.run import Cancelled, Claim, Exhausted, Expired, Retried, Settlement, Succeeded
from task_manager_core.domain.schedule import Schedule

ROOT = "fastapi.task-manager"

_COMPONENTS = {
    "elector": "leader",
    "resign": "leader",
    "scheduler": "coordinator",
    "claims": "consumer",
    "settlements": "consumer",
    "heartbeat": "consumer",
    "keeper": "consumer",
    "release": "consumer",
    "flush": "consumer",
    "reconciler": "reconciler",
}
"""The logger of each service. The other services log to `runner`."""


def logger_of(component: str) -> logging.Logger:
    """The logger of a component: runner, leader, coordinator, consumer, reconciler, group, api or statistics."""
    return logging.getLogger(f"{ROOT}.{component}")


_runner = logger_of("runner")
_leader = logger_of("leader")
_coordinator = logger_of("coordinator")
_consumer = logger_of("consumer")
_reconciler = logger_of("reconciler")
_group = logger_of("group")


class LogObserver:
    """One line per change of leadership, per dispatch (debug) and per failure, with the task's traceback."""

    def notice(self, event: Event) -> None:
        if not _is_silent(event):
            self._log(event)

    def _log(self, event: Event) -> None:
        match event:
            case TermWon() | TermEnded() | WriteFenced():
                _log_leadership(event)
            case SlotsDecided() | GapFound():
                _log_scheduling(event)
            case RunStarted() | RunSettled() | ClaimLost() | RunReleased() | RunOverran():
                _log_run(event)
            case ClaimReaped() | FindingMade() | StoreSetBack():
                _log_repair(event)
            case CatalogueChanged() | DefinitionKept() | ScheduleChanged() | ValueSetAside():
                _log_definitions(event)
            case TickFailed() | TickRecovered():
                _log_health(event)
            case LoopBlocked() | LoopResumed():
                _log_block(event)
            case _:
                assert_never(event)


def _is_silent(event: Event) -> bool:
    """Does this event write only lines for debugging, and are they switched off? Every run and every slot make such
    events, so this comes first and is cheap."""
    if isinstance(event, RunSettled):
        return isinstance(event.settlement.outcome, Succeeded) and not _consumer.isEnabledFor(logging.DEBUG)
    if isinstance(event, RunStarted):
        return not _consumer.isEnabledFor(logging.DEBUG)
    return isinstance(event, SlotsDecided) and not _coordinator.isEnabledFor(logging.DEBUG)


def _log_leadership(event: TermWon | TermEnded | WriteFenced) -> None:
    match event:
        case TermWon(node=node, term=term, deposed=Term(holder=holder, token=token)):
            _leader.warning(
                "%s leads, term %d: it deposed %s, whose term %d left a due slot undecided",
                node,
                term.token,
                holder,
                token,
            )
        case TermWon(node=node, term=term):
            _leader.info("%s leads, term %d", node, term.token)
        case TermEnded(node=node, term=term, transition=transition):
            _leader.info("%s no longer leads, term %d: %s", node, term.token, transition.value)
        case WriteFenced(node=node, term=term, operation=operation):
            _leader.warning("%s: %s refused, term %d is over", node, operation, term.token)


def _log_definitions(event: CatalogueChanged | DefinitionKept | ScheduleChanged | ValueSetAside) -> None:
    match event:
        case CatalogueChanged(changed=changed, removed=removed, unreadable=unreadable):
            _group.debug("definitions: %d new or changed, %d removed", len(changed), len(removed))
            for key in unreadable:
                _group.error(
                    "%s was defined by a newer version of this library: not scheduled here",
                    key,
                    extra=fields_of_task(key),
                )
        case ValueSetAside(error=error):
            _runner.warning("%s in the store cannot be read and is skipped: %s", error.where, error.reason)
        case ScheduleChanged(key=key, old=old, new=new):
            _group.info(
                "the schedule of %s has changed: %s -> %s", key, _plan(old), _plan(new), extra=fields_of_task(key)
            )
        case DefinitionKept(key=key):
            _group.warning(
                "%s is stored with another definition than code adds, and stays so: change it (PUT) or remove it",
                key,
                extra=fields_of_task(key),
            )


def _plan(schedule: Schedule) -> str:
    """The schedule in words: its expression, and every option that is not the default."""
    crons = [rule for rule in schedule.rules if isinstance(rule, Cron)]
    options = {
        "timezone": ", ".join(sorted({rule.timezone for rule in crons} - {"UTC"})),
        "gap": "skip" if any(rule.gap is Gap.SKIP for rule in crons) else "",
        "fold": "both" if any(rule.fold is Fold.BOTH for rule in crons) else "",
        "start_at": "" if schedule.start_at is None else schedule.start_at.isoformat(),
        "end_at": "" if schedule.end_at is None else schedule.end_at.isoformat(),
        "jitter": f"{schedule.jitter.total_seconds():g} s" if schedule.jitter else "",
    }
    shown = "; ".join(f"{name} {value}" for name, value in options.items() if value)
    return f"{schedule.expression} ({shown})" if shown else schedule.expression


def _log_scheduling(event: SlotsDecided | GapFound) -> None:
    match event:
        case SlotsDecided(decision=decision):
            for run in decision.dispatch:
                _coordinator.debug(
                    "dispatched %s: %s", _run(decision.key, run.id), _slot(run.slot), extra=fields_of_run(run)
                )
            if decision.hold is not None:
                held = decision.hold
                _coordinator.debug(
                    "holding %s: %s", _run(decision.key, held.id), _slot(held.slot), extra=fields_of_run(held)
                )
            for skip in decision.skipped:
                _coordinator.debug(
                    "skipped %s: %d slots from %s to %s, %s",
                    decision.key,
                    skip.count,
                    skip.first.isoformat(),
                    skip.last.isoformat(),
                    skip.reason.value,
                    extra=fields_of_task(decision.key),
                )
        case GapFound():
            _coordinator.warning(
                "no leader scheduled from %s to %s: %d tasks late, %d slots dispatched now, %d skipped",
                event.since.isoformat(),
                event.until.isoformat(),
                event.tasks,
                event.dispatched,
                event.skipped,
            )


def _log_run(event: RunStarted | RunSettled | ClaimLost | RunReleased | RunOverran) -> None:
    match event:
        case RunStarted(claim=claim):
            _consumer.debug("started %s", _attempt(claim), extra=fields_of_claim(claim))
        case ClaimLost(claim=claim):
            _consumer.warning(
                "lost the claim on %s: its outcome here does not count", _attempt(claim), extra=fields_of_claim(claim)
            )
        case RunReleased(claim=claim, reason=reason):
            _consumer.info("released %s: %s", _attempt(claim), reason, extra=fields_of_claim(claim))
        case RunOverran(claim=claim, held=held, places=places):
            timeout = claim.run.timeout
            _consumer.warning(
                "%s has passed its timeout of %g s in a thread, which cannot be stopped: %d of %d places are held so",
                _attempt(claim),
                0.0 if timeout is None else timeout.total_seconds(),
                held,
                places,
                extra=fields_of_claim(claim),
            )
        case RunSettled():
            _log_outcome(event)


def _log_outcome(event: RunSettled) -> None:
    settlement = event.settlement
    attempt, took = _attempt(settlement.claim), settlement.duration.total_seconds()
    extra = fields_of_claim(settlement.claim)
    match settlement.outcome:
        case Succeeded():
            _consumer.debug("finished %s in %.3f s", attempt, took, extra=extra)
        case Cancelled():
            _consumer.info("cancelled %s after %.3f s", attempt, took, extra=extra)
        case Retried(delay=delay):
            _consumer.warning(
                "failed %s after %.3f s, next attempt in %g s",
                attempt,
                took,
                delay.total_seconds(),
                exc_info=loggable(event),
                extra=extra,
            )
        case Expired():
            _consumer.warning("expired %s: %.3f s too late to start", attempt, _lateness(settlement), extra=extra)
        case Exhausted():
            claim = settlement.claim
            _consumer.error(
                "failed %s after %.3f s, for good, with %d failures and %d losses: %s",
                attempt,
                took,
                claim.failures + claim.run.retry.outlives(claim.losses),  # Too many losses end a run without a call.
                claim.losses,
                last_error(settlement),
                exc_info=loggable(event),
                extra=extra,
            )


def _lateness(settlement: Settlement) -> float:
    start_by = settlement.claim.run.start_by
    return 0.0 if start_by is None else (settlement.started_at - start_by).total_seconds()


def _log_repair(event: ClaimReaped | FindingMade | StoreSetBack) -> None:
    match event:
        case ClaimReaped(claim=claim):
            retry, losses = claim.run.retry, claim.losses + 1
            _reconciler.log(
                logging.WARNING if retry.outlives(losses) else logging.ERROR,
                "attempt %d of %s lost its worker %s: loss %d, %s allowed%s",
                claim.attempt,
                _run(claim.run.task, claim.run.id),
                claim.worker,
                losses,
                "any number" if retry.max_lost_attempts is None else retry.max_lost_attempts,
                "" if retry.outlives(losses) else ". It is not started again",
                extra=fields_of_claim(claim),
            )
        case FindingMade(finding=finding):
            _log_finding(finding)
        case StoreSetBack(wiped=True):
            _reconciler.warning(
                "the store was wiped: this process writes %d definitions and %d pauses again, as it knows them; "
                "history, counts, waiting and running runs and other pauses are lost",
                len(event.definitions),
                len(event.pauses),
            )
        case StoreSetBack():
            _reconciler.warning(
                "the store fell back to an older state: this process writes %d definitions and %d pauses again, as it "
                "knows them; all other changes since that state are lost",
                len(event.definitions),
                len(event.pauses),
            )


def _log_finding(finding: Finding) -> None:
    match finding:
        case Overdue(key=key, slot=slot, late=late):
            _reconciler.warning(
                "%s is overdue: %s is %.1f s late",
                key,
                _slot(slot),
                late.total_seconds(),
                extra={**fields_of_task(key), "slot": slot.isoformat()},
            )
        case Orphaned(key=key, run=run, worker=worker):
            _reconciler.warning(
                "%s runs on %s, which is gone; its claim ends soon",
                _run(key, run),
                worker,
                extra={**fields_of_task(key), "run_id": run.value, "worker": worker.value},
            )
        case Stray(key=key):
            _reconciler.info(
                "%s is declared by no living process: it is no longer scheduled", key, extra=fields_of_task(key)
            )
        case _:
            assert_never(finding)


def _log_health(event: TickFailed | TickRecovered) -> None:
    logger = logger_of(_COMPONENTS.get(event.service, "runner"))
    if isinstance(event, TickRecovered):
        logger.info("%s works again after %d failures", event.service, event.repeats)
    elif event.repeats & (event.repeats - 1) == 0:
        # A store that is away fails every few seconds in eight loops: only the 1st, 2nd, 4th, 8th … failure is logged.
        expected = isinstance(event.error, (BackendError, TimeoutError))
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "%s failed (%d in a row, again in %g s): %s",
            event.service,
            event.repeats,
            event.retry_in.total_seconds(),
            str(event.error) or type(event.error).__name__,
            exc_info=None if expected else event.error,
        )


def _log_block(event: LoopBlocked | LoopResumed) -> None:
    blocker = "a function" if event.claim is None else _attempt(event.claim)
    extra = None if event.claim is None else fields_of_claim(event.claim)
    match event:
        case LoopBlocked(abandoned=True):
            _runner.error(
                "%s has blocked the event loop for %.1f s at %s: this process keeps its claims no longer%s",
                blocker,
                event.stood.total_seconds(),
                event.line,
                f"\n{event.stack}",
                extra=extra,
            )
        case LoopBlocked():
            _runner.warning(
                "%s has blocked the event loop for %.1f s at %s: nothing else in this process goes on%s",
                blocker,
                event.stood.total_seconds(),
                event.line,
                f"\n{event.stack}",
                extra=extra,
            )
        case LoopResumed():
            _runner.warning(
                "the event loop goes on after %.1f s: %s blocked it at %s",
                event.stood.total_seconds(),
                blocker,
                event.line,
                extra=extra,
            )


def _attempt(claim: Claim) -> str:
    return f"{_run(claim.run.task, claim.run.id)} attempt {claim.attempt}"


def _run(key: TaskKey, run: RunId) -> str:
    return f"{key} run {run}"


def _slot(slot: object) -> str:
    return "on request" if slot is None else f"slot {slot}"
