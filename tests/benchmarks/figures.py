"""The figures of a measurement: how they are printed, compared and stored in a file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Better = Literal["more", "less"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measure of one system in one workload. `size` is what the workload varies: runs, tasks, processes."""

    workload: str
    measure: str
    system: str
    values: tuple[float, ...]
    size: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dash:
    """The reason why a system has no figure for a workload."""

    workload: str
    system: str
    reason: str
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    name: str
    title: str
    better: Better
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload. `sizes` names the unit of `size`. Ratios compare the first measure."""

    name: str
    title: str
    sizes: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A system as it was measured. One that is not `stored` keeps its work in the memory of one process."""

    name: str
    title: str
    version: str
    packages: Mapping[str, str]
    runtime: str
    delivery: str
    keeps: str
    settings: str
    stored: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where and when the measurement ran. `others` is the share of the machine that other programs used meanwhile."""

    at: str
    seconds: float
    machine: str
    cores: int
    store: str
    others: float
    revision: str


@dataclass(slots=True, kw_only=True)
class Results:
    circumstances: Circumstances
    parties: tuple[Party, ...]
    figures: list[Figure] = field(default_factory=list[Figure])
    dashes: list[Dash] = field(default_factory=list[Dash])
    breakdown: tuple[tuple[str, float], ...] = ()

    def figure(self, workload: str, measure: str, system: str, size: int = 0) -> Figure | None:
        for one in self.figures:
            if (one.workload, one.measure, one.system, one.size) == (workload, measure, system, size):
                return one
        return None

    def dash(self, workload: str, system: str, size: int = 0) -> Dash | None:
        for one in self.dashes:
            if (one.workload, one.system) == (workload, system) and one.size in {0, size}:
                return one
        return None

    def sizes(self, workload: str) -> list[int]:
        found = {one.size for one in self.figures if one.workload == workload}
        return sorted(found)

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_lines(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls.parsed(json.loads(path.read_text()))

    @classmethod
    def parsed(cls, data: Mapping[str, Any]) -> Results:
        return cls(
            circumstances=Circumstances(**data["circumstances"]),
            parties=tuple(Party(**one) for one in data["parties"]),
            figures=[Figure(**{**one, "values": tuple(one["values"])}) for one in data["figures"]],
            dashes=[Dash(**one) for one in data["dashes"]],
            breakdown=tuple((str(part), float(share)) for part, share in data.get("breakdown", ())),
        )


def _lines(data: Mapping[str, Any]) -> str:
    """JSON with a line for every figure, so that a difference between two files can be read."""
    parts: list[str] = []
    for name, value in data.items():
        if isinstance(value, (list, tuple)) and value:
            items = ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in value)
            parts.append(f" {json.dumps(name)}: [\n{items}\n ]")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def ratio(ours: Figure, theirs: Figure, better: Better) -> float | None:
    """The factor by which ours is better; None if one of the figures is zero."""
    one, other = (ours.median, theirs.median) if better == "more" else (theirs.median, ours.median)
    return one / other if one > 0 and other > 0 else None


def _m(name: str, title: str, better: Better, digits: int = 0) -> Measure:
    return Measure(name=name, title=title, better=better, digits=digits)


WORKLOADS = (
    Workload(
        name="A",
        title="No-op runs that are already queued, from the call of start to the last body",
        sizes="runs",
        measures=(
            _m("rate", "runs/s", "more"),
            _m("running", "runs/s once running", "more"),
            _m("cpu", "µs CPU of the worker a run", "less"),
            _m("redis", "µs CPU of Redis a run", "less"),
        ),
    ),
    Workload(
        name="B",
        title="The same with bodies of 10 ms; the ideal of 100 places is 10,000 runs/s",
        sizes="runs",
        measures=(_m("share", "% of the ideal", "more", 1), _m("running", "% once running", "more", 1)),
    ),
    Workload(
        name="C",
        title="Trigger in one process to start in an idle other one",
        sizes="",
        measures=(_m("median", "median, ms", "less", 2), _m("p99", "p99, ms", "less", 2)),
    ),
    Workload(
        name="D1",
        title="10,000 tasks, nothing due, by number of processes",
        sizes="processes",
        measures=(
            _m("commands", "Redis commands/s", "less", 1),
            _m("cpu", "CPU s/min of all processes", "less", 2),
            _m("redis", "CPU s/min of Redis", "less", 2),
        ),
    ),
    Workload(
        name="D2",
        title="10,000 cron tasks due in one second: start of the run after its slot",
        sizes="",
        measures=(
            _m("median", "median, ms", "less"),
            _m("p99", "p99, ms", "less"),
            _m("last", "last, ms", "less"),
            _m("dispatched", "all dispatched within, ms", "less"),
        ),
    ),
    Workload(
        name="E",
        title="Memory of 10,000 tasks",
        sizes="",
        measures=(
            _m("process", "MB a process", "less", 1),
            _m("redis", "MB in Redis", "less", 1),
            _m("redis_run", "MB in Redis after one run of each", "less", 1),
        ),
    ),
    Workload(
        name="F",
        title="kill -9 of the leader of an every-second task, two processes, default settings",
        sizes="",
        measures=(_m("gap", "s to the next run", "less", 2), _m("skipped", "slots without a run", "less")),
    ),
    Workload(
        name="G",
        title="From the call of start until the process takes part, by number of static tasks, the store empty",
        sizes="tasks",
        measures=(
            _m("start", "s", "less", 2),
            _m("again", "s when the store knows the tasks", "less", 2),
            _m("declared", "s to declare them before", "less", 2),
        ),
    ),
    Workload(
        name="tasks",
        title="Growth: one process, nothing due, by number of tasks",
        sizes="tasks",
        measures=(
            _m("commands", "Redis commands/s", "less", 1),
            _m("cpu", "CPU s/min", "less", 2),
            _m("process", "MB a process", "less", 1),
            _m("redis", "MB in Redis", "less", 1),
        ),
    ),
    Workload(
        name="processes",
        title="Growth: 1,000 tasks, nothing due, by number of processes",
        sizes="processes",
        measures=(_m("commands", "Redis commands/s", "less", 1), _m("cpu", "CPU s/min of all processes", "less", 2)),
    ),
    Workload(
        name="H",
        title="No-op runs, one process a prefix, by number of prefixes",
        sizes="prefixes",
        measures=(
            _m("rate", "runs/s on one Redis", "more"),
            _m("redis", "µs CPU of that Redis a run", "less"),
            _m("busy", "% of a core that it uses", "less"),
            _m("cluster_rate", "runs/s on three nodes of a cluster", "more"),
            _m("cluster_busy", "% of a core that the busiest node uses", "less"),
        ),
    ),
)
