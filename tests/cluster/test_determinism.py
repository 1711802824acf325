"""The same plan has the same history in every Python process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.faults import Injection, InjectionKind, Point
from task_manager_core.testing.campaign.plan import Plan, TaskPlan
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.link import Side
from task_manager_memory import MemoryStore

ROOT = Path(__file__).parent.parent.parent
PLANS = 25
OPERATIONS = ("commit", "renew", "claim", "settle", "agenda", "extend", "load")


def numbered(number: int) -> Plan:
    """The random plan with this number."""
    chance = Decider(number)
    tasks = tuple(
        TaskPlan(
            every=float(chance.between(2, 6)),
            overlap=chance.pick(["allow", "buffer_one", "skip"]),
            priority=chance.pick(["low", "high"]),
            duration=chance.between(0, 8) / 2,
            failures=chance.choose(3),
            max_retries=chance.pick([None, 1, 3]),
            slot_jitter=float(chance.choose(2)),
            dynamic=chance.happens(3),
            only=chance.pick([None, None, 1]),
        )
        for _ in range(chance.between(2, 5))
    )
    faults = tuple(
        Injection(
            kind=chance.pick(list(InjectionKind)),
            at=chance.between(10, 180) / 10
            if chance.happens(2)
            else Point(chance.pick(OPERATIONS), chance.between(1, 15), chance.pick(list(Side))),
            machine=chance.choose(3),
            task=chance.choose(5),
            length=float(chance.between(1, 6)),
            amount=chance.between(1, 8) / 100,
        )
        for _ in range(chance.choose(8))
    )
    return Plan(tasks=tasks, faults=faults, seed=number, duration=20.0, tiny=chance.happens(4))


def hashes() -> list[str]:
    return [run_plan(numbered(number), MemoryStore).trace_hash for number in range(PLANS)]


def test_a_plan_has_one_history_whatever_the_hash_seed() -> None:
    code = "from tests.cluster.test_determinism import hashes; print(*hashes())"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "random")
    ]
    found = [program.communicate()[0].split() for program in programs]
    assert [len(one) for one in found] == [PLANS] * 3
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == PLANS


def test_a_plan_survives_its_text() -> None:
    for number in range(PLANS):
        assert Plan.parse(numbered(number).text()) == numbered(number)
