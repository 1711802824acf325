"""I3 and I4: who leads, and what a leader may write."""

from __future__ import annotations

from task_manager_core.domain.events import Event, TermEnded, TermWon
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import TRANSITIONS, LeadershipState, LeadershipTransition, Term
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel
from task_manager_core.testing.cluster.effects import (
    BidRefused,
    Effect,
    Granted,
    Renewed,
    Resigned,
    Sent,
    WriteAccepted,
    WriteRefused,
)


class OneTerm(Checker):
    """One live term; tokens strictly increase, whatever happens to the store."""

    invariant = "I3"
    law = "At most one term lives; tokens strictly increase, also after a wipe, and none is issued twice."
    because = "Grant and renewal compare (holder, token) in one step; a token is max(last + 1, store time in ms)."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        reigning = ledger.store.reigning()
        match fact:
            case Granted(term=term):
                if reigning is not None:
                    self.require(term == reigning, f"{_shown(term)} was granted while {_shown(reigning)} lives")
                    return
                greatest = ledger.greatest_token
                self.require(term.token > greatest, f"token {term.token} was issued after {greatest}")
                ledger.greatest_token = term.token
            case BidRefused(held=held):
                holder = None if reigning is None else reigning.holder
                self.require(held.holder == holder, f"a bid was refused for {held.holder} while {holder} leads")
            case Renewed(term=term) | Resigned(term=term):
                kind = type(fact).__name__.lower()
                self.require(term == reigning, f"{_shown(term)} was {kind} while {_shown(reigning)} lives")
            case _:
                pass


class Fencing(Checker):
    """A leader's write takes effect only under the live term; a leader does not even ask beyond its trust."""

    invariant = "I4"
    law = "A leader's write carries the live term; with an older one nothing changes, and none is knowingly sent."
    because = "Every such verb compares the term in its own step; trust ends on the local clock before the lease does."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        reigning = ledger.store.reigning()
        match fact:
            case WriteAccepted(term=term, operation=operation):
                self.require(
                    term == reigning, f"{operation} of {_shown(term)} was accepted while {_shown(reigning)} lives"
                )
            case WriteRefused(term=term, operation=operation):
                self.require(term != reigning, f"{operation} of the live {_shown(term)} was refused")
            case Sent(term=term, operation=operation):
                ends = ledger.store.leases.get(term)
                ended = ends is not None and ledger.at >= ends
                self.require(not ended, f"{ledger.node} sent {operation} under {_shown(term)}, whose lease had ended")
            case _:
                pass

    def noticed(self, event: Event, ledger: ClusterModel) -> None:
        if isinstance(event, TermWon):
            self._turned(event.node, LeadershipTransition.WON, ledger)
        elif isinstance(event, TermEnded):
            self._turned(event.node, event.transition, ledger)
            forgotten = event.transition is LeadershipTransition.LOST and ledger.store.reigning() == event.term
            self.require(not forgotten, f"{event.node} took {_shown(event.term)} for lost, which lives")

    def _turned(self, node: NodeId, turn: LeadershipTransition, ledger: ClusterModel) -> None:
        """A node goes from stage to stage as the table says."""
        stage = ledger.stages.get(node, LeadershipState.FOLLOWER)
        self.require(
            (stage, turn) in TRANSITIONS, f"{node} was a {stage.value} and says that its term was {turn.value}"
        )
        ledger.stages[node] = TRANSITIONS[stage, turn]


def _shown(term: Term | None) -> str:
    return "no term" if term is None else f"term {term.token} of {term.holder}"
