"""Leadership: the store grants at most one live term."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, LeaderSign, Term


class Leadership(Protocol):
    """Laws, all judged by the store's time:

    1. While a lease lives, no other node is granted a term, unless that node deposes the leader.
    2. Tokens strictly increase, also after a lease ended, was resigned, or the store was wiped.
    3. A node that campaigns again while its own lease lives gets the same term (a lost reply is harmless), and its
       lease is not extended.
    4. A renewal by the live term extends the lease to now + ttl.
    5. A lease that has ended is never revived.
    6. A renewal or resignation by any other term changes nothing.
    7. A resignation ends the lease at once.
    8. A lease ends after its length, also if the store's clock is set back meanwhile.
    9. A deposition grants a term at once and ends the live term, if a task is due and the live term and its progress
       are the ones that the candidate saw.
    10. Any other deposition is answered like a campaign.
    11. The progress of the live term advances with each of its commits, and with each of its readings of the agenda
        while a task is due.
    12. Nothing else advances the progress of a term.
    13. An observation shows the live term with the rest of its lease, its progress and the earliest due instant of the
        tasks that are not retired, and changes nothing.
    """

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        """Ask for a term.

        Args:
            candidate: The node that asks.
            ttl: The length of the lease.

        Returns:
            The term; HeldByOther, with the rest of the lease, if another node leads.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def observe(self) -> LeaderSign:
        """Look at the leader. A follower that looks again later sees whether the leader has done anything since.

        Returns:
            The store's time, the live term with the rest of its lease, its progress, and the earliest due instant.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        """Ask for a term in place of a leader that does not decide about a due slot.

        Args:
            candidate: The node that asks.
            ttl: The length of the lease.
            seen: The answer of the last observation by the candidate.

        Returns:
            The term; HeldByOther, with the rest of the lease, if another node leads and was not deposed.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        """Extend the lease of a term.

        Args:
            term: The term of the node that asks.
            ttl: The length of the lease from now on.

        Returns:
            False if the term is over.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def resign(self, term: Term) -> bool:
        """End a term.

        Args:
            term: The term of the node that asks.

        Returns:
            False if the term was over already.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
