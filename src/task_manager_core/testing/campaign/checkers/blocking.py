"""I14: the claims of a process whose event loop is blocked."""

from __future__ import annotations

from datetime import datetime, timedelta

from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel
from task_manager_core.testing.cluster.effects import Effect, Extended, Reaped

_SLACK = timedelta(seconds=0.5)
"""For the interval at which the keeper looks, and for latencies."""


class KeptWhileBlocked(Checker):
    """A process keeps its claims while a function blocks its event loop, up to the limit."""

    invariant = "I14"
    law = (
        "A function that blocks the event loop of its process costs no attempt that was started there, unless it "
        "blocks the loop for longer than the limit; after the limit no claim of the process is extended."
    )
    because = (
        "Another thread of the process extends the claims while the loop stands, and compares the time with the limit."
    )

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        if not model.is_calm:
            return  # The messages of the keeper may be lost, or late.
        match effect:
            case Reaped(claim=claim):
                since = _since(claim.worker.value, model)
                started = (claim.run.id, claim.token, claim.worker.value) in model.started
                kept = since is None or not started or model.at - since > model.block_limit
                self.require(kept, f"an attempt of {claim.run.task} was reaped, and its loop stands since {since}")
            case Extended(claim=claim):
                since = _since(model.node, model)
                in_time = since is None or model.at - since <= model.block_limit + _SLACK
                self.require(in_time, f"a claim on {claim.run.task} was extended, and its loop stands since {since}")
            case _:
                pass


def _since(process: str, model: ClusterModel) -> datetime | None:
    """Since when the event loop of a process is blocked; None while it runs."""
    return model.blocked.get(process)
