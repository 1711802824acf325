"""What a campaign has seen. A simulation that never met a fault has proved nothing about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.run import Exhausted, Expired, Retried
from task_manager_core.ports import Enqueued
from task_manager_core.testing.cluster.effects import (
    CancelAnswered,
    ClaimsGiven,
    Decided,
    Effect,
    ExtensionRefused,
    Granted,
    Overtaken,
    Reaped,
    Released,
    ReleaseRefused,
    Requested,
    RequestRefused,
    Retired,
    Settled,
    SettlementRefused,
    WriteConflicted,
    WriteRefused,
    Written,
)

COVERAGE_GOALS = (
    "takeover",
    "fenced write",
    "lost claim",
    "reaped claim",
    "claim given again",
    "held run",
    "overtaken decision",
    "retry",
    "exhausted run",
    "expired run",
    "handed back",
    "cancelled run",
    "retired task",
    "request refused",
    *(f"skipped: {reason.value}" for reason in SkipReason),
)
"""What every campaign must have seen, besides every kind of fault."""


class Coverage:
    """Counts sights. `ever` of several simulations add up with `+=` on the counters."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._term: Term | None = None

    def note(self, sight: str) -> None:
        self.seen[sight] += 1

    def fact(self, fact: Effect) -> None:  # noqa: C901, PLR0912 - one line for each sight
        match fact:
            case Granted(term=term):
                if self._term is not None and self._term.holder != term.holder:
                    self.note("takeover")
                self._term = term
            case WriteRefused():
                self.note("fenced write")
            case ExtensionRefused() | SettlementRefused() | ReleaseRefused():
                self.note("lost claim")
            case Reaped():
                self.note("reaped claim")
            case ClaimsGiven(claims=claims, known=known, worker=worker) if any(
                claim.worker == worker and claim.attempt > 0 and claim not in known for claim in claims
            ):
                self.note("claim given again")
            case Overtaken():
                self.note("overtaken decision")
            case Decided(decision=advance):
                for skip in advance.skipped:
                    self.note(f"skipped: {skip.reason.value}")
                if advance.hold is not None:
                    self.note("held run")
            case Written(write=definition):
                for skip in definition.skipped:
                    self.note(f"skipped: {skip.reason.value}")
            case WriteConflicted():
                self.note("conflict")
            case Requested(answer=answer):
                self.note("held run" if answer is Enqueued.HELD else f"requested: {answer.value}")
            case RequestRefused():
                self.note("request refused")
            case Settled(settlement=settlement):
                outcome = settlement.outcome
                if isinstance(outcome, Retried):
                    self.note("retry")
                elif isinstance(outcome, Exhausted):
                    self.note("exhausted run")
                elif isinstance(outcome, Expired):
                    self.note("expired run")
            case Released():
                self.note("handed back")
            case CancelAnswered():
                self.note("cancelled run")
            case Retired():
                self.note("retired task")
            case _:
                pass

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """What was never seen."""
        return [sight for sight in wanted if not self.seen[sight]]
