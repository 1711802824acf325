"""Simulates the tasks of an application in virtual time: weeks in seconds, with workers that die."""

from task_manager_core.testing.simulation.durations import DEFAULT, REAL, Duration, DurationRule, Durations
from task_manager_core.testing.simulation.faults import (
    During,
    Fault,
    FaultKind,
    during,
    kill,
    outage,
    partition,
    pause,
    rolling_deploy,
    stop,
    store_down,
)
from task_manager_core.testing.simulation.overlaps import OverlapInterval, PileUp
from task_manager_core.testing.simulation.report import Report
from task_manager_core.testing.simulation.results import (
    Execution,
    ExecutionStatus,
    InjectedFault,
    PlannedRun,
    Settings,
    SkippedSlot,
    TaskResult,
)
from task_manager_core.testing.simulation.simulate import simulate_registry

__all__ = [
    "DEFAULT",
    "REAL",
    "Duration",
    "DurationRule",
    "Durations",
    "During",
    "Execution",
    "ExecutionStatus",
    "Fault",
    "FaultKind",
    "InjectedFault",
    "OverlapInterval",
    "PileUp",
    "PlannedRun",
    "Report",
    "Settings",
    "SkippedSlot",
    "TaskResult",
    "during",
    "kill",
    "outage",
    "partition",
    "pause",
    "rolling_deploy",
    "simulate_registry",
    "stop",
    "store_down",
]
