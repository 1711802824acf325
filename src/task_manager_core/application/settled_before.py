"""Finds the settlements that the store has accepted although its answer was lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from task_manager_core.application.newest_lines import newest_lines
from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.run import STATUS_OF_OUTCOME, AttemptRecord, AttemptStatus, Claim, Settlement
from task_manager_core.ports import History

_Line = tuple[RunId, int, AttemptStatus]


async def settled_before(history: History, settlements: Iterable[Settlement]) -> frozenset[Claim]:
    """Of settlements whose claims are over, the claims that these settlements have ended themselves.

    The store writes the line of a settlement in the step that accepts it. If the line was cleared or trimmed since, the
    claim counts as lost.
    """
    wanted: defaultdict[TaskKey, dict[_Line, Claim]] = defaultdict(dict)
    for one in settlements:
        wanted[one.claim.run.task][one.claim.run.id, one.claim.token, STATUS_OF_OUTCOME[type(one.outcome)]] = one.claim
    found: set[Claim] = set()
    for key, claims in wanted.items():
        written = await _written(history, key, claims.keys())
        found |= {claim for line, claim in claims.items() if line in written}
    return frozenset(found)


async def _written(history: History, key: TaskKey, wanted: AbstractSet[_Line]) -> set[_Line]:
    """Those of the wanted lines that are among the newest of the task."""
    found: set[_Line] = set()

    def are_all_found(lines: Sequence[AttemptRecord]) -> bool:
        nonlocal found
        found = {(line.run, line.token, line.status) for line in lines} & wanted
        return found == wanted

    # A damaged history must not keep the worker from its other settlements.
    with suppress(BackendCorrupt):
        await newest_lines(history, key, are_all_found)
    return found
