"""Health and configuration, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from fastapi_task_manager.config import OperationalConfig
from fastapi_task_manager.schema.answer import Answer


class LoopBlock(Answer):
    """A function has blocked the event loop of this process: no other task ran meanwhile, and no request."""

    task_group_name: str | None = Field(description="Group of the task whose code did; null: no task did")
    task_name: str | None = Field(description="Its name")
    run_id: str | None = Field(description="Its run")
    line: str = Field(description="The line of code: file, number and function")
    seconds: float = Field(description="For how long")
    ended_at: datetime = Field(description="When the event loop went on")


class HealthResponse(Answer):
    """The state of one process."""

    status: Literal["healthy", "degraded", "unhealthy"] = Field(
        description="healthy: started, no service ended or failing, store answering; degraded: so, but every place is"
        " held by a function that has passed its timeout in a thread, and the process executes nothing else"
    )
    redis_connected: bool = Field(description="Does the store answer? Named after the store of production.")
    worker_id: str | None = Field(default=None, description="Identity of this process since its last start")
    worker_started_at: datetime | None = Field(default=None, description="When that was")
    is_leader: bool = Field(default=False, description="Does this process schedule for all?")
    roles: list[str] = Field(
        default=[], description="What this process does: schedule (it may lead), execute (it claims runs)"
    )
    queues: list[str] | None = Field(default=None, description="The queues that it serves; null: every queue")
    warnings: list[str] = Field(
        default=[], description="Work that no living process does, such as a queue that none serves; at most 20"
    )
    reason: str | None = Field(
        default=None, description="What is wrong, or that the process is disabled; null otherwise"
    )
    held_places: int = Field(
        default=0,
        description="Places of the worker that are held by functions which have passed their timeouts in threads",
    )
    last_block: LoopBlock | None = Field(
        default=None, description="The last function that blocked the event loop, for ten minutes after it ended"
    )


def _default(field: str) -> Any:
    """The default of this field in the configuration."""
    return OperationalConfig.model_fields[field].default


class ConfigResponse(Answer):
    """The operational fields of the configuration: no host, no secret. Lengths of time are seconds."""

    model_config = ConfigDict(from_attributes=True)

    redis_key_prefix: str = Field(description="Prefix of every key in the store")
    concurrent_tasks: int = Field(description="Most runs that one process executes at a time")
    statistics_redis_expiration: int = Field(description="Time to live of the statistics in seconds")
    statistics_history_runs: int = Field(description="Attempts kept in the history of a task")
    allow_parallel: bool = Field(description="May several runs of a task live at once that says nothing?")
    poll_interval: float = Field(description="Longest wait of the leader between two looks at what is due, in seconds")
    worker_service_name: str = Field(description="Part of the process's identity")
    stream_block_ms: int = Field(description="A worker asks for runs with requests of this many milliseconds")
    leader_heartbeat_interval: float = Field(description="The leader renews its lease this often, in seconds")
    leader_retry_interval: float = Field(description="Longest wait of a follower between two looks, in seconds")
    leader_deposition_grace: float | None = Field(
        default=_default("leader_deposition_grace"),
        description="A follower deposes a leader that decides nothing about a due slot for so long, in seconds;"
        " null: it follows from the other fields",
    )
    reconciliation_interval: float = Field(description="The leader looks for dead workers this often, in seconds")
    keep_ended_tasks: float | None = Field(
        default=_default("keep_ended_tasks"),
        description="A dynamic task with run_at is removed so long after its last instant, in seconds; null: never",
    )
    retry_backoff: float = Field(description="Delay before the first retry in seconds")
    retry_backoff_max: float = Field(description="Longest delay between retries in seconds")
    retry_backoff_multiplier: float = Field(description="Each delay is this many times the one before")
    running_heartbeat_interval: float = Field(description="A worker extends its claims this often, in seconds")
    loop_block_warning: float = Field(
        default=_default("loop_block_warning"),
        description="A function that blocks the event loop for so long is reported, in seconds; 0: none is",
    )
    loop_block_limit: float = Field(
        default=_default("loop_block_limit"),
        description="A process keeps its claims for so long while its event loop is blocked, in seconds; 0: not at all",
    )
    process_pool_size: int | None = Field(
        default=_default("process_pool_size"),
        description='Most processes for functions with executor="process"; null: one for each CPU',
    )
    max_retries: int | None = Field(
        default=_default("max_retries"), description="Retries before a run is given up; null: until it succeeds"
    )
    max_lost_attempts: int | None = Field(
        default=_default("max_lost_attempts"),
        description="Attempts that may lose their worker before a run is given up; null: any number",
    )
    timezone: str = Field(default=_default("timezone"), description="Zone of the cron expressions that name none")
    refresh_interval: float = Field(
        default=_default("refresh_interval"),
        description="Longest time until a changed definition is known, in seconds",
    )
    shutdown_timeout: float = Field(
        default=_default("shutdown_timeout"),
        description="Running tasks get this long to end at a stop, in seconds",
    )
    start_timeout: float | None = Field(
        default=_default("start_timeout"),
        description="A start fails after this time without a usable store, in seconds; null: it keeps trying",
    )
    api_max_body_bytes: int = Field(
        default=_default("api_max_body_bytes"), description="The management API reads no body that is longer"
    )
    api_trusted_origins: str | None = Field(
        default=_default("api_trusted_origins"), description="Origins of other sites whose pages may act"
    )
    roles: list[str] | None = Field(
        default=_default("roles"), description="What this process does: schedule, execute; null: both"
    )
    queues: list[str] | None = Field(
        default=_default("queues"), description="The queues that this process serves; null: every queue"
    )
    keep_log_lines: bool = Field(
        default=_default("keep_log_lines"), description="Are the newest lines that a function logs kept with its run?"
    )
    tracing: bool = Field(
        default=_default("tracing"), description="Are dispatches and attempts traced with OpenTelemetry?"
    )
    enabled: bool = Field(default=_default("enabled"), description="Does this process execute tasks?")
