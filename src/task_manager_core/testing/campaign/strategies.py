"""Hypothesis strategies. They draw a whole plan before it runs, and shrink it towards a calm plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from task_manager_core.testing.campaign.plan import Plan
from task_manager_core.testing.campaign.random_plans import draw_calm_plan, draw_plan, extended, limited

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError("plans are drawn by Hypothesis: pip install 'hexagonal-task-manager[testing]'") from missing

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Lets Hypothesis draw, so that it can shrink."""

    draw: st.DrawFn

    def pick(self, options: Sequence[_T]) -> _T:
        return self.draw(st.sampled_from(options))

    def between(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans with faults."""
    chance = _Drawn(draw)
    return limited(extended(draw_plan(chance), chance), chance)


@st.composite
def calm_plans(draw: st.DrawFn) -> Plan:
    """Plans without faults; only the order of events is left to chance."""
    chance = _Drawn(draw)
    return limited(extended(draw_calm_plan(chance), chance), chance)
