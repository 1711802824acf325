"""The report of a simulation: its results, as text and as a page of HTML."""

from __future__ import annotations

from dataclasses import dataclass

from task_manager_core.testing.simulation.page import page
from task_manager_core.testing.simulation.results import Results
from task_manager_core.testing.simulation.summary import summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Results):
    """The results of a simulation, and two ways to show them."""

    def summary(self) -> str:
        """One page of text."""
        return summary(self)

    def to_html(self) -> str:
        """One self-contained page of HTML. It draws planned slots against executions, one row for each task."""
        return page(self)
