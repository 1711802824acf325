"""One small class for each invariant. `every_checker()` makes a fresh set for one simulation."""

from task_manager_core.testing.campaign.checkers.attempts import BackoffHeld, OneAttempt, OneOutcome, StartDeadline
from task_manager_core.testing.campaign.checkers.blocking import KeptWhileBlocked
from task_manager_core.testing.campaign.checkers.checker import Checker, Records
from task_manager_core.testing.campaign.checkers.concluding import CallbackAfterSettlement, DelayKept, OneOffRemoved
from task_manager_core.testing.campaign.checkers.conservation import Conservation, NothingExpires
from task_manager_core.testing.campaign.checkers.definitions import CurrentDefinition, NothingWhileOff
from task_manager_core.testing.campaign.checkers.keeping import KeptBySettlement, LastCursorRead, ProgressOfItsAttempt
from task_manager_core.testing.campaign.checkers.overlap import NoOverlap
from task_manager_core.testing.campaign.checkers.slots import NoSilentGap, OneDecisionPerSlot
from task_manager_core.testing.campaign.checkers.terms import Fencing, OneTerm
from task_manager_core.testing.campaign.violation import Violation

CHECKERS: tuple[type[Checker], ...] = (
    OneDecisionPerSlot,
    NoSilentGap,
    OneTerm,
    Fencing,
    OneAttempt,
    NoOverlap,
    OneOutcome,
    Conservation,
    BackoffHeld,
    NothingWhileOff,
    CurrentDefinition,
    NothingExpires,
    StartDeadline,
    KeptWhileBlocked,
    KeptBySettlement,
    LastCursorRead,
    ProgressOfItsAttempt,
    CallbackAfterSettlement,
    OneOffRemoved,
    DelayKept,
)


def every_checker() -> tuple[Checker, ...]:
    """I1 to I20, in this order: if one effect breaks two invariants, the first is reported."""
    return tuple(kind() for kind in CHECKERS)


__all__ = ["CHECKERS", "Checker", "Records", "Violation", "every_checker"]
