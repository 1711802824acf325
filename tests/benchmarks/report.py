"""The page on performance, made from a result: `make bench-page`, or

    python -m tests.benchmarks.report [result.json [breakdown.json]]

A result that is named becomes docs/explanation/performance.json, with a breakdown if there is one: an object of the
parts of a run and their microseconds. The page is always made from that file. Every figure on the page
is in the file or computed from it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.benchmarks.figures import WORKLOADS, Dash, Figure, Measure, Party, Results, Workload, ratio

EXPLANATION = Path(__file__).parents[2] / "docs" / "explanation"
DATA = EXPLANATION / "performance.json"
PAGE = EXPLANATION / "performance.md"

OURS = "task_manager"
PIVOTED = {"tasks", "processes"}
"""Workloads whose sizes are the columns."""

INTRODUCTION = """\
# Performance

<!-- Made by `make bench-page` from performance.json. Change the generator, not this page. -->

Every figure here was measured beside the peers', in one run, on one machine, with the full contract on:
[each promise](guarantees.md) holds, and the history is kept. The figures belong to that machine; compare the ratios.

- Machine: {machine}, {cores} cores; other programs used {others} of it meanwhile.
- Store: {store} on the same machine, without persistence. The systems use one server after the other; where they wait
  together (D1, F, growth) each has one of its own.
- Run: {at}, {minutes} minutes, revision {revision}.
- Same for all: one worker process with uvloop and hiredis where the system can use them, 100 runs at a time, the same
  bodies. A driver uses a system's public interface, with the fastest settings that keep what it promises. After every
  queue it is checked that each run was executed once and that none is left.
- A cell holds the median, and the least and the most where it was measured several times. D1 and growth are means of
  half a minute; SAQ's and taskiq's, which look at every task every second, of ten seconds. They and F and G use the
  defaults of each system."""

BEYOND = """\
## What one Redis carries, and what lies beyond

A run costs Redis {cost} µs of its one core. A Redis that does nothing else is full at about {full} runs/s (computed).

More than that takes several prefixes. Each `redis_key_prefix` is a system of its own, with its own leader and its own
queue, and in a cluster all keys of a prefix lie on one node. Split the groups of an application over several managers
with different prefixes, and a cluster spreads them over its nodes."""

REPEATING = """\
## How to repeat it

```
make bench                              # everything, about a quarter of an hour on two idle cores
make bench ONLY=A,C PEERS=taskiq,arq    # a part
make bench-core                         # the pure parts of this project, without a store
make bench-page                         # this page from the last result
```

`make bench` makes an environment for every system below `.cache/bench`, with the versions pinned in
`tests/benchmarks/peers/requirements`; BullMQ needs Node. It starts a Redis of its own and listens on loopback only.
`tests/benchmarks/systems.py` has the settings of each system, `tests/benchmarks/peers` one driver for each."""


def shown(figure: Figure | None, measure: Measure) -> str:
    """The median, and the least and the most where it was measured several times."""
    if figure is None:
        return "–"
    values = [f"{one:,.{measure.digits}f}" for one in (figure.median, min(figure.values), max(figure.values))]
    return values[0] if len(figure.values) == 1 else f"{values[0]} ({values[1]}–{values[2]})"


def times(value: float | None) -> str:
    """A ratio with two significant digits."""
    if value is None:
        return ""
    return f"{value:,.0f} ×" if value >= 20 else f"{value:.1f} ×" if value >= 2 else f"{value:.2f} ×"


# -- tables -----------------------------------------------------------------------------------------------------------


def table(results: Results, workload: Workload) -> str:
    """The workload with all systems, and the reasons for dashes below it."""
    parts = [f"**{workload.name}. {workload.title}**" if len(workload.name) <= 2 else f"**{workload.title}**"]
    if workload.name in PIVOTED:
        parts += [_pivoted(results, workload, measure) for measure in workload.measures]
    else:
        parts.append(_plain(results, workload))
    reasons = [_reason(results, dash, workload) for dash in results.dashes if dash.workload == workload.name]
    if reasons:
        parts.append("\n".join(reasons))
    return "\n\n".join(parts)


def _plain(results: Results, workload: Workload) -> str:
    parties = _parties(results, workload)
    sizes = results.sizes(workload.name)
    measures = [one for one in workload.measures if any(each.measure == one.name for each in _of(results, workload))]
    comparing = len(parties) > 1
    head = ["", *([workload.sizes] if workload.sizes else []), *(one.title for one in measures)]
    rows = [
        [
            party.title,
            *([f"{size:,}"] if workload.sizes else []),
            *(shown(results.figure(workload.name, one.name, party.name, size), one) for one in measures),
            *([_ratio(results, workload, measures[0], party, size)] if comparing else []),
        ]
        for size in sizes
        for party in parties
        if _mentioned(results, workload, party, size)
    ]
    return _drawn([*head, *(["this project is better by"] if comparing else [])], rows)


def _pivoted(results: Results, workload: Workload, measure: Measure) -> str:
    sizes = [size for size in results.sizes(workload.name) if size]
    rows = [
        [
            party.title,
            *(shown(results.figure(workload.name, measure.name, party.name, size), measure) for size in sizes),
        ]
        for party in _parties(results, workload)
    ]
    return _drawn([measure.title, *(f"{size:,} {workload.sizes}" for size in sizes)], rows)


def _drawn(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _of(results: Results, workload: Workload) -> list[Figure]:
    return [one for one in results.figures if one.workload == workload.name]


def _parties(results: Results, workload: Workload) -> list[Party]:
    """The systems that have a figure for the workload, or a reason for a missing one."""
    named = {one.system for one in _of(results, workload)}
    named |= {one.system for one in results.dashes if one.workload == workload.name}
    return [one for one in results.parties if one.name in named]


def _mentioned(results: Results, workload: Workload, party: Party, size: int) -> bool:
    """Whether the results have a figure, or a reason for a missing one."""
    figures = (one for one in _of(results, workload) if (one.system, one.size) == (party.name, size))
    return next(figures, None) is not None or results.dash(workload.name, party.name, size) is not None


def _ratio(results: Results, workload: Workload, measure: Measure, party: Party, size: int) -> str:
    ours = results.figure(workload.name, measure.name, OURS, size)
    theirs = results.figure(workload.name, measure.name, party.name, size)
    if party.name == OURS or ours is None or theirs is None:
        return ""
    return times(ratio(ours, theirs, measure.better))


def _reason(results: Results, dash: Dash, workload: Workload) -> str:
    title = next(one.title for one in results.parties if one.name == dash.system)
    at = f", {dash.size:,} {workload.sizes}" if dash.size and workload.sizes else ""
    return f"- {title}{at}: {dash.reason}."


# -- the page ---------------------------------------------------------------------------------------------------------


def page(results: Results) -> str:
    """The whole page. A section without data is left out."""
    sections = [
        _introduction(results),
        _summary(results),
        *(_workload(results, one) for one in WORKLOADS if one.name not in {*PIVOTED, "H"} and _of(results, one)),
        _growth(results),
        _breakdown(results),
        _beyond(results),
        _systems(results),
        REPEATING,
    ]
    return "\n\n".join(one for one in sections if one) + "\n"


def _introduction(results: Results) -> str:
    at = results.circumstances
    return INTRODUCTION.format(
        machine=at.machine,
        cores=at.cores,
        others=f"{at.others:.0%}",
        store=at.store,
        at=at.at,
        minutes=f"{at.seconds / 60:.0f}",
        revision=at.revision,
    )


def _summary(results: Results) -> str:
    rows = [row for workload in WORKLOADS if workload.name not in {*PIVOTED, "H"} for row in _best(results, workload)]
    if not rows:
        return ""
    drawn = _drawn(["", "this project", "best peer with a store", "better by"], rows)
    return f"## In short\n\n{drawn}\n\nSystems without a store stand in the tables below."


def _best(results: Results, workload: Workload) -> list[list[str]]:
    rows: list[list[str]] = []
    measure = workload.measures[0]
    for size in results.sizes(workload.name):
        ours = results.figure(workload.name, measure.name, OURS, size)
        stored = [party for party in results.parties if party.stored]
        peers = [results.figure(workload.name, measure.name, party.name, size) for party in stored]
        theirs = [one for one in peers if one is not None and one.system != OURS]
        if ours is None or not theirs:
            continue
        choose = max if measure.better == "more" else min
        best = choose(theirs, key=lambda one: one.median)
        title = next(one.title for one in results.parties if one.name == best.system)
        at = f", {size:,} {workload.sizes}" if workload.sizes else ""
        rows.append(
            [
                f"{workload.name}: {workload.title}{at}; {measure.title}",
                shown(ours, measure),
                f"{title} {shown(best, measure)}",
                times(ratio(ours, best, measure.better)),
            ]
        )
    return rows


def _workload(results: Results, workload: Workload) -> str:
    _, _, below = table(results, workload).partition("\n\n")
    return f"## {workload.name}: {workload.title}\n\n{below}"


def _growth(results: Results) -> str:
    parts = [table(results, one) for one in WORKLOADS if one.name in PIVOTED and _of(results, one)]
    return "\n\n".join(["## Growth", *parts]) if parts else ""


def _breakdown(results: Results) -> str:
    if not results.breakdown:
        return ""
    whole = sum(share for _, share in results.breakdown)
    rows = [[part, f"{share:.1f}", f"{share / whole:.0%}"] for part, share in results.breakdown]
    drawn = _drawn(["", "µs a run", "share"], [*rows, ["together", f"{whole:.1f}", ""]])
    return f"## Where the microseconds of a run go\n\n{drawn}"


def _beyond(results: Results) -> str:
    workload = next(one for one in WORKLOADS if one.name == "H")
    cost = results.figure("H", "redis", OURS, 1)
    if cost is None:
        return ""
    _, _, below = table(results, workload).partition("\n\n")
    return f"{BEYOND.format(cost=f'{cost.median:.0f}', full=f'{1e6 / cost.median:,.0f}')}\n\n{below}"


def _systems(results: Results) -> str:
    parts = ["## What the systems promise\n"]
    for one in results.parties:
        packages = ", ".join(f"{name} {version}" for name, version in one.packages.items())
        parts.append(
            f"- **{one.title} {one.version}**, {one.runtime} ({packages}). Promises: {one.delivery}. "
            f"Keeps of a run: {one.keeps}. Settings: {one.settings}."
        )
    return "\n".join(parts)


def main() -> None:
    """Make the page."""
    result, *breakdown = [Path(one) for one in sys.argv[1:]] or [DATA]
    results = Results.load(result)
    for one in breakdown:
        results.breakdown = tuple(json.loads(one.read_text()).items())
    results.save(DATA)
    PAGE.write_text(page(results))
    print(f"{PAGE} is made from {DATA}")


if __name__ == "__main__":
    main()
