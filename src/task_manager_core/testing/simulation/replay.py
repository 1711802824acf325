"""See a plan again: `python -m task_manager_core.testing.simulation.replay '<plan>'`.

The store is `--store package:factory`, by default the memory store.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from task_manager_core.testing.simulation.campaign import simulate
from task_manager_core.testing.simulation.checkers import Violation
from task_manager_core.testing.simulation.plan import Plan


def main(arguments: list[str] | None = None) -> int:
    """Print the timeline of a plan, and whether an invariant was broken (exit status 1)."""
    parser = argparse.ArgumentParser(description="Replay a simulated plan.")
    parser.add_argument("plan", help="the line of JSON that a failing campaign printed")
    parser.add_argument("--store", default="task_manager_memory:MemoryStore", help="package:factory of the store")
    parser.add_argument("--lines", type=int, default=400, help="how many moments to show")
    options = parser.parse_args(arguments)
    module, _, name = str(options.store).partition(":")
    make_store = getattr(importlib.import_module(module), name)
    plan = Plan.parse(options.plan)
    write = sys.stdout.write
    write("\n".join(plan.lines()) + "\n")
    try:
        verdict = simulate(plan, make_store, keep_lines=options.lines)
    except Violation as violation:
        notes: list[str] = getattr(violation, "__notes__", [])
        write("\n".join([*notes, str(violation)]) + "\n")
        return 1
    write("\n".join([*verdict.timeline, f"no violation in {verdict.time:g} simulated seconds"]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
