"""A dress rehearsal: the tasks of an application in virtual time, weeks in seconds, with workers that die."""

from task_manager_core.testing.simulation.durations import DEFAULT, REAL, Bodies, Body, Duration
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
from task_manager_core.testing.simulation.overlaps import Overlap, PileUp
from task_manager_core.testing.simulation.report import (
    Circumstances,
    Ending,
    Execution,
    Mark,
    PlannedRun,
    Report,
    SkippedSlot,
    TaskStory,
)
from task_manager_core.testing.simulation.simulate import rehearse

__all__ = [
    "DEFAULT",
    "REAL",
    "Bodies",
    "Body",
    "Circumstances",
    "Duration",
    "During",
    "Ending",
    "Execution",
    "Fault",
    "FaultKind",
    "Mark",
    "Overlap",
    "PileUp",
    "PlannedRun",
    "Report",
    "SkippedSlot",
    "TaskStory",
    "during",
    "kill",
    "outage",
    "partition",
    "pause",
    "rehearse",
    "rolling_deploy",
    "stop",
    "store_down",
]
