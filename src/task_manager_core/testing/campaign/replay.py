"""Run a plan again: `python -m task_manager_core.testing.campaign.replay '<plan>'`.

The store is `--store package:factory`, by default the memory store. Exit status: 0 no violation, 1 a violation, 2 wrong
arguments.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import fields

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.checkers import Violation
from task_manager_core.testing.campaign.faults import Injection
from task_manager_core.testing.campaign.plan import Plan
from task_manager_core.testing.cluster.stores import SimStore


def main(arguments: list[str] | None = None) -> int:
    """Print the timeline of a plan, and whether it broke an invariant (exit status 1)."""
    parser = argparse.ArgumentParser(description="Replay a simulated plan.")
    parser.add_argument("plan", help="the line of JSON that a failing campaign printed")
    parser.add_argument("--store", default="task_manager_memory:MemoryStore", help="package:factory of the store")
    parser.add_argument("--lines", type=int, default=400, help="how many moments to show")
    options = parser.parse_args(arguments)
    make_store = _store(parser, options.store)
    plan = _plan(parser, options.plan)
    write = sys.stdout.write
    write("\n".join(plan.lines()) + "\n")
    try:
        result = run_plan(plan, make_store, keep_lines=options.lines)
    except Violation as violation:
        notes: list[str] = getattr(violation, "__notes__", [])
        write("\n".join([*notes, str(violation)]) + "\n")
        return 1
    write("\n".join([*result.timeline, f"no violation in {result.time:g} simulated seconds"]) + "\n")
    return 0


def _store(parser: argparse.ArgumentParser, text: str) -> Callable[[], SimStore]:
    module, _, name = text.partition(":")
    try:
        made: Callable[[], SimStore] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        parser.error(f"argument --store: {error}")
    return made


def _plan(parser: argparse.ArgumentParser, text: str) -> Plan:
    try:
        plan = Plan.parse(text)
        for index, task in enumerate(plan.tasks):
            task.task(index)
        kept = json.loads(plan.text())
    except (ValueError, TypeError, LookupError, DefinitionError) as error:
        parser.error(f"argument plan: {error}")
    given = json.loads(text)
    for name in ("tasks", "faults"):
        asked, understood = given.get(name, []), kept[name]
        if len(asked) != len(understood):
            parser.error(f"argument plan: {name} must be a list of objects")
    known = {field.name for field in fields(Injection)}
    for fault in given.get("faults", []):
        if unknown := sorted(fault.keys() - known):
            parser.error(f"argument plan: a fault has no {', '.join(unknown)}")
    return plan


if __name__ == "__main__":
    raise SystemExit(main())
