"""This project beside its peers, in one run: `make bench`, or `python -m tests.benchmarks.compare`.

    make bench ONLY=A,C PEERS=taskiq,arq

measures only those workloads, of this project and those peers. Without ONLY and PEERS it measures everything. It prints
the result and writes it to .cache/bench/result.json. `make bench-page` makes docs/explanation/performance.md from it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.bench import Bench, Unfit
from tests.benchmarks.environments import CACHE, CannotMake, Environment, made
from tests.benchmarks.figures import WORKLOADS, Circumstances, Party, Results
from tests.benchmarks.idle import nothing_due
from tests.benchmarks.process import ROOT, DriverError
from tests.benchmarks.report import table
from tests.benchmarks.schedules import bursts, failovers
from tests.benchmarks.store import version_of, work_of
from tests.benchmarks.systems import SYSTEMS, System
from tests.benchmarks.work import full_queues, prefixes, single_runs
from tests.redis_server import RedisServer

RESULT = CACHE / "result.json"
STEPS: Sequence[Callable[[Bench], Awaitable[None]]] = (
    full_queues,
    single_runs,
    bursts,
    nothing_due,
    failovers,
    prefixes,
)
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Make the environments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="workloads: " + ", ".join(one.name for one in WORKLOADS))
    parser.add_argument("--peers", default="", help="peers: " + ", ".join(one.name for one in SYSTEMS if not one.ours))
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    wanted = _chosen(asked.only, [one.name for one in WORKLOADS], "workload")
    peers = _chosen(asked.peers, [one.name for one in SYSTEMS if not one.ours], "peer")
    systems = [one for one in SYSTEMS if one.ours or one.name in peers]
    # A plain `kill` must also end the servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = asyncio.run(_measure(systems, _environments(systems), wanted))
    print()
    for workload in WORKLOADS:
        if workload.name in wanted:
            print(f"{table(results, workload)}\n")
    results.save(asked.result)
    print(
        f"{results.circumstances.seconds / 60:.1f} minutes; other programs used {results.circumstances.others:.0%} of ",
        end="",
    )
    print(f"the machine meanwhile; written to {asked.result}")


def _chosen(asked: str, known: Sequence[str], what: str) -> frozenset[str]:
    chosen = [one.strip() for one in asked.split(",") if one.strip()]
    unknown = set(chosen) - set(known)
    if unknown:
        sys.exit(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return frozenset(chosen or known)


def _environments(systems: Sequence[System]) -> dict[str, Environment]:
    """The environments of all systems for which one can be made. An error if there is none for this project."""
    environments: dict[str, Environment] = {}
    for system in systems:
        try:
            environments[system.name] = made(system)
        except CannotMake as error:
            if system.ours:
                sys.exit(str(error))
            print(f"without {system.title}: {error}", file=sys.stderr)
    return environments


async def _measure(systems: Sequence[System], environments: dict[str, Environment], wanted: frozenset[str]) -> Results:
    began, busy = time.monotonic(), _busy()
    at = datetime.now(UTC)
    with RedisServer() as server:
        there = [one for one in systems if one.name in environments]
        bench = Bench(server=server, systems=there, environments=environments, wanted=wanted)
        parties = [await _party(bench, system) for system in there]
        for step in STEPS:
            try:
                await step(bench)
            except (DriverError, Unfit) as error:  # What was measured until then is kept.
                print(f"  {step.__name__} ended early: {error}", file=sys.stderr)
        store = version_of(server)
        ours = _own() + work_of([server]).cpu
    seconds = time.monotonic() - began
    used = (_busy() - busy) - ours
    circumstances = Circumstances(
        at=at.isoformat(timespec="minutes"),
        seconds=seconds,
        machine=_machine(),
        cores=os.cpu_count() or 1,
        store=store,
        others=max(used, 0.0) / seconds / (os.cpu_count() or 1),
        revision=_revision(),
    )
    return Results(circumstances=circumstances, parties=tuple(parties), figures=bench.figures, dashes=bench.dashes)


async def _party(bench: Bench, system: System) -> Party:
    async with bench.driver(system, bench.settings("runs")) as driver:
        hello = await driver.ask("hello")
    runtime = f"Node {hello['node']}" if system.node else f"CPython {hello['python']}"
    packages: dict[str, str] = hello["packages"]
    return Party(
        name=system.name,
        title=system.title,
        version=next(iter(packages.values())),
        packages=packages,
        runtime=f"{runtime}, {hello['loop']}",
        delivery=system.delivery,
        keeps=system.keeps,
        settings=system.settings,
        stored=not system.in_memory,
    )


def _busy() -> float:
    """Seconds of processor time since the machine started; None if the operating system does not report it."""
    try:
        user, nice, system, *_ = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except (OSError, ValueError):
        return 0.0
    return (int(user) + int(nice) + int(system)) / _TICKS


def _own() -> float:
    """CPU seconds of this process, and of its child processes that have ended."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in usages)


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {platform.system()} {platform.release().split('-')[0]}"


def _revision() -> str:
    ended = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return ended.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
