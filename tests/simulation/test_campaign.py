"""Random plans: no invariant breaks, and everything that can happen has been seen."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from task_manager_core.testing.simulation.campaign import EVERYTHING, simulate
from task_manager_core.testing.simulation.plan import Plan
from task_manager_core.testing.simulation.strategies import calm_plans, plans
from task_manager_memory import MemoryStore

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
PLANS = {"dev": 40, "ci": 400, "nightly": 6000}.get(PROFILE, 40)


def campaign(strategy: st.SearchStrategy[Plan], examples: int) -> Counter[str]:
    """Simulate so many plans; the answer counts what was seen. The same plans every time, but for the nightly ones."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=PROFILE != "nightly",
        suppress_health_check=tuple(HealthCheck.__members__.values()),
    )
    @given(strategy)
    def no_invariant_breaks(plan: Plan) -> None:
        seen.update(simulate(plan, MemoryStore).seen)
        seen["plans"] += 1

    no_invariant_breaks()
    return seen


def test_no_invariant_breaks_in_calm_weather() -> None:
    seen = campaign(calm_plans(), PLANS // 4)
    assert seen["operation: commit"] > 0
    assert seen["takeover"] == 0


def test_no_invariant_breaks_whatever_happens() -> None:
    seen = campaign(plans(), PLANS)
    print(f"{seen['plans']} plans; seen: {dict(sorted(seen.items()))}")
    if PROFILE != "dev":
        assert [sight for sight in EVERYTHING if not seen[sight]] == []
