"""What a campaign has covered. A campaign in which a fault never happened has proved nothing about it."""

from __future__ import annotations

from collections import Counter

from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.run import Exhausted, Expired, Retried
from task_manager_core.ports import Enqueued
from task_manager_core.testing.cluster.effects import (
    CancelAnswered,
    ClaimsGiven,
    Decided,
    Deposed,
    Effect,
    EndedRemoved,
    ExtensionRefused,
    Granted,
    Overtaken,
    Reaped,
    Released,
    ReleaseRefused,
    Reported,
    ReportRefused,
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
    "deposition",
    "fenced write",
    "lost claim",
    "reaped claim",
    "claim given again",
    "held run",
    "overtaken decision",
    "retry",
    "exhausted run",
    "expired run",
    "released run",
    "cancelled run",
    "retired task",
    "request refused",
    "result kept",
    "cursor kept",
    "cursor read",
    "lost result",
    "progress shown",
    "lost progress",
    "callback: Succeeded",
    "callback: Retried",
    "callback: Exhausted",
    "one-off task removed",
    "delayed run started",
    "requested run expired",
    *(f"skipped: {reason.value}" for reason in SkipReason),
)
"""What must happen in every campaign, besides every kind of fault."""


class Coverage:
    """Counts what happened in a simulation, by its name."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._term: Term | None = None

    def count(self, name: str) -> None:
        self.seen[name] += 1

    def count_effect(self, effect: Effect) -> None:  # noqa: C901, PLR0912, PLR0915 - one line for each name
        match effect:
            case Granted(term=term) | Deposed(term=term):
                if self._term is not None and self._term.holder != term.holder:
                    self.count("takeover")
                if isinstance(effect, Deposed) and effect.seen.term is not None and term != self._term:
                    self.count("deposition")
                self._term = term
            case WriteRefused():
                self.count("fenced write")
            case ExtensionRefused() | ReleaseRefused():
                self.count("lost claim")
            case SettlementRefused(settlement=settlement):
                self.count("lost claim")
                if settlement.result is not None:
                    self.count("lost result")
            case Reported():
                self.count("progress shown")
            case ReportRefused():
                self.count("lost progress")
            case EndedRemoved():
                self.count("one-off task removed")
            case Reaped():
                self.count("reaped claim")
            case ClaimsGiven(claims=claims, known=known, worker=worker) if any(
                claim.worker == worker and claim.attempt > 0 and claim not in known for claim in claims
            ):
                self.count("claim given again")
            case Overtaken():
                self.count("overtaken decision")
            case Decided(decision=decision):
                for skip in decision.skipped:
                    self.count(f"skipped: {skip.reason.value}")
                if decision.hold is not None:
                    self.count("held run")
            case Written(write=write):
                for skip in write.skipped:
                    self.count(f"skipped: {skip.reason.value}")
            case WriteConflicted():
                self.count("conflict")
            case Requested(answer=answer):
                self.count("held run" if answer is Enqueued.HELD else f"requested: {answer.value}")
            case RequestRefused():
                self.count("request refused")
            case Settled(settlement=settlement):
                outcome, remembered = settlement.outcome, settlement.remembered
                if settlement.result is not None:
                    self.count("result kept")
                if remembered is not None and remembered.cursor is not None:
                    self.count("cursor kept")
                if isinstance(outcome, Retried):
                    self.count("retry")
                elif isinstance(outcome, Exhausted):
                    self.count("exhausted run")
                elif isinstance(outcome, Expired):
                    self.count("expired run")
                    if settlement.claim.run.slot is None:
                        self.count("requested run expired")
            case Released():
                self.count("released run")
            case CancelAnswered():
                self.count("cancelled run")
            case Retired():
                self.count("retired task")
            case _:
                pass
