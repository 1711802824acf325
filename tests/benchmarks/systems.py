"""The compared systems, with their promises and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """With the measured settings, `delivery` is its promise for a run, and `keeps` its record of a finished run.

    `settings` are the differences from its defaults, for all workloads but those that say "default settings". A burst
    of due tasks is due `lead` seconds after the process is launched, at a full minute with `minutes`. `cannot` has the
    reason for each workload that it cannot do.
    """

    name: str
    title: str
    delivery: str
    keeps: str
    settings: str
    lead: int
    cannot: Mapping[str, str] = field(default_factory=dict[str, str])
    minutes: bool = False
    node: bool = False
    in_memory: bool = False
    looks_at_every_task: bool = False

    @property
    def ours(self) -> bool:
        return self.name == "task_manager"

    @property
    def module(self) -> str:
        return "tests.benchmarks.task_manager" if self.ours else f"tests.benchmarks.peers.{self.name}"


SYSTEMS = (
    System(
        name="task_manager",
        title="this project",
        delivery="at most one dispatch a slot, none lost silently; each run executes at least once, one outcome",
        keeps="status, times, attempt and error of the last 500 runs of each task",
        settings="concurrent_tasks=100",
        lead=9,
    ),
    System(
        name="taskiq",
        title="taskiq",
        delivery="jobs at least once (stream with acknowledgements, redelivered after 10 minutes); "
        "cron by one scheduler process, which remembers no slot",
        keeps="nothing (no result backend)",
        settings="RedisStreamBroker, max_async_tasks=100, max_prefetch=100, validate_params=False, socket_timeout=60; "
        "scheduler and receiver in one process",
        lead=9,
        minutes=True,
        cannot={"F": "one scheduler process: when it dies, nothing takes over"},
        looks_at_every_task=True,
    ),
    System(
        name="docket",
        title="docket",
        delivery="jobs at least once (redelivered 5 minutes after the last sign of the worker); "
        "a cron task schedules its next slot when it ends",
        keeps="nothing (execution_ttl=0)",
        settings="concurrency=100, minimum_check_interval and scheduling_resolution 5 ms, execution_ttl=0, "
        "500 connections",
        lead=20,
    ),
    System(
        name="streaq",
        title="streaq",
        delivery="jobs at least once (re-enqueued after 60 s idle)",
        keeps="nothing (ttl=0)",
        settings="concurrency=100, ttl=0",
        lead=12,
    ),
    System(
        name="saq",
        title="SAQ",
        delivery="a job whose worker died is found by a sweep every 60 s, and runs again if it has retries left",
        keeps="nothing (ttl=-1)",
        settings="concurrency=100, max_concurrent_ops=200, ttl=-1",
        lead=14,
        looks_at_every_task=True,
    ),
    System(
        name="arq",
        title="arq",
        delivery="jobs at least once (pessimistic execution, a job of a dead worker runs again after its timeout)",
        keeps="nothing (keep_result=0)",
        settings="max_jobs=100, poll_delay=10 ms, keep_result=0, a pool of 100 connections that waits",
        lead=9,
        minutes=True,
    ),
    System(
        name="apscheduler",
        title="APScheduler 3 (memory)",
        delivery="none: memory of one process, lost with it",
        keeps="nothing",
        settings="AsyncIOScheduler, memory job store, misfire_grace_time=None; its asyncio executor has no limit",
        lead=8,
        cannot={
            "B": "its asyncio executor has no limit, so there is no ideal to compare with",
            "C": "one process only",
            "F": "one process only",
        },
        in_memory=True,
    ),
    System(
        name="bullmq",
        title="BullMQ",
        delivery="jobs at least once (stalled after 30 s); a scheduler's next job is added when the one before starts",
        keeps="nothing (removeOnComplete)",
        settings="concurrency=100, removeOnComplete, removeOnFail",
        lead=18,
        node=True,
    ),
)
