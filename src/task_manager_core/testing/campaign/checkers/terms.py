"""I3 and I4: who leads, and what a leader may write."""

from __future__ import annotations

from datetime import datetime

from task_manager_core.domain.events import Event, TermEnded, TermWon
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import TRANSITIONS, LeadershipState, LeadershipTransition, Term
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel
from task_manager_core.testing.cluster.effects import (
    BidRefused,
    Deposed,
    Effect,
    Granted,
    Observed,
    Renewed,
    Resigned,
    Sent,
    WriteAccepted,
    WriteRefused,
)

FASTEST_CLOCK = 0.9
"""A follower waits at least this part of the grace, as the store measures it."""


class OneTerm(Checker):
    """There is one live term. Tokens strictly increase, also when the store loses data. A leader is deposed only when
    it has decided nothing about a due slot for a grace."""

    invariant = "I3"
    law = (
        "At most one term lives; tokens strictly increase, also after a wipe; only a leader that did nothing about a"
        " due slot for a grace is deposed."
    )
    because = (
        "Every grant compares holder, token and progress in one step; a token is max(last + 1, store time in ms); a"
        " follower measures the grace by its monotonic clock."
    )

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        live = model.store.live_term()
        match effect:
            case Granted(term=term):
                if live is not None:
                    self.require(term == live, f"{_shown(term)} was granted while {_shown(live)} is live")
                    return
                self._issued(term, model)
            case Observed(sign=sign):
                self.require(sign.term == live, f"an observation shows {_shown(sign.term)}, and {_shown(live)} is live")
                due = model.store.first_due()
                self.require(sign.first_due == due, f"an observation shows {sign.first_due}, and {due} is due next")
                model.looks[model.node] = live, model.store.progress
                self._count(model, due)
            case Deposed(term=term):
                if live is not None and live != term:
                    self._deposed(live, model)
                if live != term:
                    self._issued(term, model)
            case BidRefused(held=held):
                holder = None if live is None else live.holder
                self.require(held.holder == holder, f"a bid was refused for {held.holder} while {holder} leads")
            case Renewed(term=term) | Resigned(term=term):
                kind = type(effect).__name__.lower()
                self.require(term == live, f"{_shown(term)} was {kind} while {_shown(live)} is live")
            case _:
                pass

    def _issued(self, term: Term, model: ClusterModel) -> None:
        greatest = model.greatest_token
        self.require(term.token > greatest, f"token {term.token} was issued after {greatest}")
        model.greatest_token = term.token

    def _count(self, model: ClusterModel, due: datetime | None) -> None:
        """Note since when the node may count a grace for this slot."""
        store = model.store
        if due is None:
            model.waits.pop(model.node, None)
            return
        shown, due_at = (model.looks[model.node], due), store.at + (due - store.clock)
        before = model.waits.get(model.node)
        first_seen = before[1] if before is not None and before[0] == shown else store.at
        model.waits[model.node] = shown, max(first_seen, due_at)

    def _deposed(self, live: Term, model: ClusterModel) -> None:
        """`live` was deposed."""
        store, look = model.store, model.looks.get(model.node)
        self.require(look == (live, store.progress), f"{model.node} saw {look}, and {_shown(live)} was deposed")
        since = store.idle_since()
        waited = None if since is None else store.at - since
        if waited is not None and model.node in model.waits:  # The clock may have been set back since the first look.
            waited = max(waited, store.at - model.waits[model.node][1])
        # The clock of the follower may run faster than the one of the store.
        enough = waited is not None and waited >= model.grace * FASTEST_CLOCK
        self.require(enough, f"{_shown(live)} was deposed {waited} after it had to decide about a slot")


class Fencing(Checker):
    """A leader's write takes effect only under the live term. A leader sends none after its trust has ended."""

    invariant = "I4"
    law = "A leader's write carries the live term; with an older one nothing changes, and none is knowingly sent."
    because = "Every such verb compares the term in its own step; trust ends on the local clock before the lease does."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        live = model.store.live_term()
        match effect:
            case WriteAccepted(term=term, operation=operation):
                self.require(term == live, f"{operation} of {_shown(term)} was accepted while {_shown(live)} is live")
            case WriteRefused(term=term, operation=operation):
                self.require(term != live, f"{operation} of the live {_shown(term)} was refused")
            case Sent(term=term, operation=operation):
                ends = model.store.leases.get(term)
                ended = ends is not None and model.at >= ends
                self.require(not ended, f"{model.node} sent {operation} under {_shown(term)}, whose lease had ended")
            case _:
                pass

    def notice(self, event: Event, model: ClusterModel) -> None:
        if isinstance(event, TermWon):
            self._turned(event.node, LeadershipTransition.WON, model)
        elif isinstance(event, TermEnded):
            self._turned(event.node, event.transition, model)
            wrong = event.transition is LeadershipTransition.LOST and model.store.live_term() == event.term
            self.require(not wrong, f"{event.node} reported the live {_shown(event.term)} as lost")

    def _turned(self, node: NodeId, transition: LeadershipTransition, model: ClusterModel) -> None:
        """A node changes its leadership state as the table says."""
        state = model.leadership.get(node, LeadershipState.FOLLOWER)
        self.require(
            (state, transition) in TRANSITIONS,
            f"{node} was a {state.value} and reports that its term was {transition.value}",
        )
        model.leadership[node] = TRANSITIONS[state, transition]


def _shown(term: Term | None) -> str:
    return "no term" if term is None else f"term {term.token} of {term.holder}"
