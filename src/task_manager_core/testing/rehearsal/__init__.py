"""A dress rehearsal: the tasks of an application in virtual time, weeks in seconds, with workers that die."""

from task_manager_core.testing.rehearsal.bodies import DEFAULT, REAL, Bodies, Body, Duration
from task_manager_core.testing.rehearsal.faults import (
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
from task_manager_core.testing.rehearsal.meetings import Overlap, PileUp
from task_manager_core.testing.rehearsal.rehearse import rehearse
from task_manager_core.testing.rehearsal.report import (
    Circumstances,
    Ending,
    Execution,
    Mark,
    PlannedRun,
    Report,
    SkippedSlot,
    TaskStory,
)

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
