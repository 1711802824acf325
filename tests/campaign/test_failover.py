"""What a leader that is killed, suspended or cut off costs a task of every second, with the default settings.

The store and the clocks are simulated. Each plan happens at many instants of a second and of a heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from task_manager_core.application import elector
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Rest, Suspicion
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.policy import NodePolicy
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.effects import Decided, Deposed, Effect, Granted
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_core.testing.cluster.watcher import NullWatcher, Watched
from task_manager_memory import MemoryStore

GRACE = NodePolicy().grace.total_seconds()
LATENCIES = 0.25
"""Seconds for the messages between the first look of a follower and the decision."""

FOREVER = 1000.0
SECONDLY = TaskDefinition(key=TaskKey("group", "task"), schedule=Schedule.cron("* * * * * *"), function="task")
INSTANTS = [5.05 + 0.37 * number for number in range(12)]


@dataclass
class Log(NullWatcher):
    """The decisions with the seconds by which they were late, and how often the leader changed."""

    decisions: list[tuple[SlotDecision, float]] = field(default_factory=list[tuple[SlotDecision, float]])
    leaders: list[str] = field(default_factory=list[str])
    _cluster: Watched | None = None

    def attach(self, cluster: Watched) -> None:
        self._cluster = cluster

    def observe(self, process: str, operation: str, effects: Iterable[Effect]) -> None:
        del process, operation
        assert self._cluster is not None
        for effect in effects:
            match effect:
                case Decided(decision=decision):
                    late = self._cluster.store_clock.now() - decision.slot
                    self.decisions.append((decision, late.total_seconds()))
                case Granted(term=term) | Deposed(term=term):
                    if not self.leaders or self.leaders[-1] != term.holder.value:
                        self.leaders.append(term.holder.value)
                case _:
                    pass

    @property
    def longest_wait(self) -> float:
        return max(late for _, late in self.decisions[2:])

    @property
    def dispatched(self) -> list[datetime]:
        return [run.slot for decision, _ in self.decisions for run in decision.dispatch if run.slot is not None]


Fault = Callable[[SimCluster], object]


async def nothing() -> None:
    """The task."""


def declare(_cluster: SimCluster, _machine: str, declarations: Declarations) -> None:
    declarations.declare(SECONDLY, nothing)


def observed(fault: Fault, at: float, seed: int, seconds: float = 16.0) -> Log:
    """Three machines, of which the first one leads. The fault happens `at` this second."""
    log = Log()

    async def main() -> None:
        async with SimCluster(open_backend=MemoryStore().open, declare=declare, watcher=log) as cluster:
            for number in range(3):
                cluster.boot(f"w{number}")
            await cluster.sleep(at)
            assert log.leaders, "a machine leads"
            fault(cluster)
            await cluster.sleep(seconds - at)

    run_simulation(main, Decider(seed))
    return log


def leading(cluster: SimCluster) -> str:
    [leader] = [process.machine for process in cluster.alive() if process.node.leads]
    return leader


def kill(cluster: SimCluster) -> None:
    cluster.kill(leading(cluster))


def suspend(cluster: SimCluster) -> None:
    cluster.pause(leading(cluster), 4.0)


def lose_requests(cluster: SimCluster) -> None:
    cluster.link_faults[leading(cluster)].requests_lost_until = cluster.time + FOREVER


def lose_replies(cluster: SimCluster) -> None:
    cluster.link_faults[leading(cluster)].replies_lost_until = cluster.time + FOREVER


def crawl(cluster: SimCluster) -> None:
    """Each message of the leader takes two seconds."""
    link = cluster.link_faults[leading(cluster)]
    link.slow_until, link.slowness = cluster.time + FOREVER, 2.0


@pytest.mark.parametrize("at", INSTANTS)
@pytest.mark.parametrize("fault", [kill, suspend, lose_requests, crawl])
def test_a_leader_that_decides_nothing_costs_no_slot(fault: Fault, at: float) -> None:
    """A decision comes a grace after its slot, or after a second look if the leader had decided since the first one."""
    log = observed(fault, at, seed=round(at * 100))
    assert [skip for decision, _ in log.decisions for skip in decision.skipped] == []
    assert log.dispatched == sorted(set(log.dispatched))
    gaps = {later - earlier for earlier, later in zip(log.dispatched, log.dispatched[1:], strict=False)}
    assert gaps == {timedelta(seconds=1)}
    assert log.longest_wait < 2 * GRACE + LATENCIES
    assert len(log.leaders) == 2, "the leader changes once"


@pytest.mark.parametrize("at", INSTANTS)
def test_a_leader_that_gets_no_reply_is_deposed_when_it_asks_too_rarely(at: float) -> None:
    """Its requests arrive and are signs of life. It repeats them after the time limit of a request, a second here."""
    log = observed(lose_replies, at, seed=round(at * 100))
    assert log.dispatched == sorted(set(log.dispatched))
    assert log.longest_wait < 1.0 + 1.0 + 2 * GRACE + LATENCIES
    assert len(log.leaders) == 2, "the leader changes once"


def test_without_depositions_slots_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail."""

    def never(_suspicion: Suspicion | None, *_sign: object, **_times: object) -> Rest:
        return Rest(5.0)

    monkeypatch.setattr(elector, "judge", never)
    log = observed(kill, INSTANTS[0], seed=1)
    assert [skip for decision, _ in log.decisions for skip in decision.skipped] != []


def slow_store(cluster: SimCluster) -> None:
    for link in cluster.link_faults.values():
        link.slow_until, link.slowness = cluster.time + 5.0, 0.3


def short_outage(cluster: SimCluster) -> None:
    cluster.store_down(0.5)


def outage(cluster: SimCluster) -> None:
    cluster.store_down(3.0)


def set_forward(cluster: SimCluster) -> None:
    """To an instant at which ten slots are due at once."""
    cluster.store_clock.set_back(-10.0)


def drift_apart(cluster: SimCluster) -> None:
    for number, process in enumerate(cluster.alive()):
        process.clock.drift(1.0 + 0.08 * (number - 1))


def stumble(cluster: SimCluster) -> None:
    """The leader stands still for half a grace."""
    cluster.pause(leading(cluster), GRACE / 2)


@pytest.mark.parametrize("at", INSTANTS)
@pytest.mark.parametrize("fault", [slow_store, short_outage, outage, set_forward, drift_apart, stumble])
def test_a_leader_that_is_only_slow_leads_on(fault: Fault, at: float) -> None:
    assert len(observed(fault, at, seed=round(at * 100)).leaders) == 1
