"""Health and configuration, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class HealthResponse(BaseModel):
    """The state of one process."""

    status: Literal["healthy", "unhealthy"] = Field(
        description="healthy: started, every service alive, store answering"
    )
    redis_connected: bool = Field(description="Does the store answer? Named after the store of production.")
    worker_id: str | None = Field(default=None, description="Identity of this process since its last start")
    worker_started_at: datetime | None = Field(default=None, description="When that was")
    is_leader: bool = Field(default=False, description="Does this process schedule for all?")
    reason: str | None = Field(default=None, description="What is wrong, null when healthy")


class ConfigResponse(BaseModel):
    """The operational fields of the configuration: no host, no secret. Lengths of time are seconds."""

    model_config = ConfigDict(from_attributes=True)

    redis_key_prefix: str
    concurrent_tasks: int
    statistics_redis_expiration: int
    statistics_history_runs: int
    allow_parallel: bool
    poll_interval: float
    worker_service_name: str
    stream_block_ms: int = Field(description="Milliseconds")
    leader_heartbeat_interval: float
    leader_retry_interval: float
    reconciliation_interval: float
    retry_backoff: float
    retry_backoff_max: float
    retry_backoff_multiplier: float
    running_heartbeat_interval: float
    max_retries: int | None
    timezone: str
    refresh_interval: float
    shutdown_timeout: float
    start_timeout: float | None
