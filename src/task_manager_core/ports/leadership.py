"""At most one live term."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, Term


class Leadership(Protocol):
    """Laws, all judged by the store's time:

    1. While a lease lives, nobody else is granted a term.
    2. Tokens strictly increase, also after a lease ended, was resigned, or the store was wiped.
    3. Campaigning again with a live lease of one's own returns the same term (a lost reply is harmless) and extends
       nothing.
    4. A renewal by the live term extends the lease to now + ttl.
    5. A lease that has ended is never revived.
    6. A renewal or resignation by any other term changes nothing.
    7. A resignation ends the lease at once.
    8. A lease ends after its length, also if the store's clock is set back meanwhile.
    """

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        """Ask for a term of `ttl`. Errors: BackendUnavailable."""
        ...

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        """Extend the lease; False when the term is over. Errors: BackendUnavailable."""
        ...

    async def resign(self, term: Term) -> bool:
        """End the lease; False when it was over already. Errors: BackendUnavailable."""
        ...
