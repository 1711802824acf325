"""A worker that settles again tells of an outcome only if the store has accepted it."""

from __future__ import annotations

import pytest

from task_manager_core.application.newest_lines import LINES_READ
from task_manager_core.domain.errors import BackendCorrupt, BackendUnavailable
from task_manager_core.domain.events import ClaimLost, RunSettled
from task_manager_core.domain.run import AttemptStatus
from tests.application.cluster import KEY, Cluster, Process, Trouble, queued, reap, statuses


async def finished(cluster: Cluster, trouble: Trouble, runs: int = 1) -> Process:
    """A process whose runs have succeeded, and whose first settlement failed in this way."""
    process = await queued(cluster, lambda: None, runs=runs)
    await process.node.worker.claim()
    await process.ended()
    process.link.trouble("settle", trouble)
    with pytest.raises(BackendUnavailable):
        await process.node.worker.settle()
    process.link.calls.clear()
    return process


def told(process: Process) -> tuple[int, int]:
    """How many outcomes and how many lost claims its observers were told of."""
    return len(process.events.of(RunSettled)), len(process.events.of(ClaimLost))


async def test_a_claim_that_was_reaped_before_the_repetition_is_lost(cluster: Cluster) -> None:
    process = await finished(cluster, Trouble.LOST_REQUEST)
    await reap(cluster)
    await process.node.worker.settle()
    assert told(process) == (0, 1)
    assert await statuses(cluster) == [AttemptStatus.LOST]


async def test_an_accepted_settlement_is_found_by_its_line(cluster: Cluster) -> None:
    process = await finished(cluster, Trouble.LOST_REPLY, runs=2)
    await process.node.worker.settle()
    assert told(process) == (2, 0)
    assert process.link.calls == ["settle", "read"]


async def test_an_accepted_settlement_is_found_behind_newer_lines(cluster: Cluster) -> None:
    process = await finished(cluster, Trouble.LOST_REPLY)
    for number in range(LINES_READ[0] + 5):
        (triggered,) = await process.node.control.trigger([KEY], f"later {number}")
        await process.node.control.cancel([(KEY, triggered.run)])
    await process.node.worker.settle()
    assert told(process) == (1, 0)


async def test_an_accepted_settlement_whose_line_was_cleared_counts_as_lost(cluster: Cluster) -> None:
    process = await finished(cluster, Trouble.LOST_REPLY)
    await process.node.control.clear([KEY])
    await process.node.worker.settle()
    assert told(process) == (0, 1)


async def test_a_settlement_without_a_lost_answer_asks_for_no_history(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None)
    await process.node.worker.claim()
    await process.ended()
    await reap(cluster)
    process.link.calls.clear()
    await process.node.worker.settle()
    assert (told(process), process.link.calls) == ((0, 1), ["settle"])


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_history_that_does_not_answer_is_asked_again(cluster: Cluster, trouble: Trouble) -> None:
    process = await finished(cluster, Trouble.LOST_REPLY, runs=2)
    process.link.trouble("read", trouble)
    with pytest.raises(BackendUnavailable):
        await process.node.worker.settle()
    assert told(process) == (0, 0)
    await process.node.worker.settle()
    assert told(process) == (2, 0)


async def test_a_damaged_history_does_not_keep_the_worker_from_its_work(cluster: Cluster) -> None:
    process = await finished(cluster, Trouble.LOST_REPLY)

    async def damaged() -> None:
        raise BackendCorrupt("a line", "it is no JSON")

    process.link.between("read", damaged)
    assert await process.node.worker.settle() == 0.0
    assert told(process) == (0, 1)
    assert await process.node.worker.settle() is None
