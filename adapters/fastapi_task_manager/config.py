"""The configuration: read, checked, and translated into the policies of the core, which does not know it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from fastapi_task_manager.duty_fields import Queues, Roles, duties_of
from fastapi_task_manager.errors import echo
from fastapi_task_manager.option_readers import LONGEST_SECONDS, MOST_RETRIES, duration
from fastapi_task_manager.options import Defaults
from fastapi_task_manager.origins import checked_origins
from task_manager_core.domain.duties import Duties
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.policy import (
    BlockPolicy,
    LeadershipPolicy,
    NodePolicy,
    Retention,
    RetryPolicy,
    WorkerPolicy,
)
from task_manager_core.domain.zone import load_zone
from task_manager_core.ports import OpenBackend
from task_manager_redis import RedisSettings, SentinelSettings, redis_backend
from task_manager_redis.address import check_host, is_url, masked, secrets_in, sentinel_addresses, with_masks

Seconds = Annotated[float, Field(ge=0.001, le=LONGEST_SECONDS, allow_inf_nan=False)]
Patience = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]

_SECRETS = ("redis_password", "redis_sentinel_password", "redis_host", "redis_sentinels")
"""An error does not repeat the values of these fields."""

MASK = "**********"
"""Stands for a secret in a dump of the configuration."""

MASKED = "holds the mask of a secret that was shown elsewhere; copy a configuration with model_copy()"


class OperationalConfig(BaseSettings):
    """The configuration without the address of a Redis: enough for `TaskManager(backend=...)`.

    Every field may also come from the environment: `TASK_MANAGER_` and its name. Lengths of time are seconds unless
    the name says otherwise. Unknown fields and impossible values are refused.

    Attributes:
        redis_key_prefix: Prefix of every key in the store; applications sharing a database need different ones.
        concurrent_tasks: Most runs that one worker executes at a time.
        statistics_redis_expiration: Time to live of the statistics, and of nothing else.
        statistics_history_runs: History entries kept per task.
        allow_parallel: May several runs of the same task live at once?
        poll_interval: Longest wait of the leader between two looks at what is due.
        worker_service_name: Part of the worker's identity in health answers and logs.
        stream_block_ms: Milliseconds that a worker waits for runs in one request.
        leader_heartbeat_interval: The leader renews its lease this often; the lease lives three times as long.
        leader_retry_interval: Longest wait of a follower between two looks at the leader.
        leader_deposition_grace: Depose a leader that decides nothing about a due slot for so long. None: 0.75 s.
        reconciliation_interval: The leader looks for overdue and stuck tasks this often.
        keep_ended_tasks: A dynamic task with `run_at` is removed so long after its last instant; None: never.
        retry_backoff: Delay before the first retry of a failed run.
        retry_backoff_max: Cap of that delay.
        retry_backoff_multiplier: Each delay is this many times the one before.
        running_heartbeat_interval: A worker renews its claims this often; a claim lives three times as long.
        loop_block_warning: Report a function that blocks the event loop for so long; 0: never.
        loop_block_limit: Keep the claims of a process whose event loop is blocked for so long; 0: not at all.
        process_pool_size: Most processes for functions with executor="process"; None: one for each CPU.
        max_retries: Retries before a run is given up. The default delays of 50 retries add up to 45 minutes. None: any.
        max_lost_attempts: Attempts that may lose their worker before a run is given up; None: any number.
        timezone: IANA name of the zone in which cron expressions are read.
        refresh_interval: Longest time until a process learns of a definition that another one changed.
        shutdown_timeout: Running tasks get this long to end when the process stops; the node releases the rest.
        start_timeout: Fail the start when the store is not usable within this time; None: keep trying.
        api_max_body_bytes: The management API reads no body that is longer.
        api_trusted_origins: Origins of other sites whose pages may act, "https://one,https://two:8443".
        roles: "schedule" (the process may lead), "execute" (it claims runs), both (None) or neither ([], "none").
        queues: Names of the queues whose runs this process executes; None: every queue.
        keep_log_lines: Keep the newest lines that a function logs with any logger, at INFO and above, with its run.
        tracing: Trace dispatches and attempts with OpenTelemetry, by the provider that the application has set.
        enabled: False: open no store, execute nothing, and refuse every change. The tasks are listed.
    """

    model_config = SettingsConfigDict(
        env_prefix="TASK_MANAGER_",
        env_ignore_empty=True,
        extra="forbid",
        validate_assignment=True,
        hide_input_in_errors=True,  # it would print the password next to an unrelated mistake
    )

    redis_key_prefix: str = Field(default=__name__, min_length=1, max_length=200)
    concurrent_tasks: int = Field(default=2, ge=1, le=100_000)
    statistics_redis_expiration: int = Field(default=432_000, ge=1, le=10 * LONGEST_SECONDS)
    statistics_history_runs: int = Field(default=500, ge=1, le=1_000_000)
    allow_parallel: bool = True
    poll_interval: Seconds = 0.1
    worker_service_name: str = Field(default="fastapi-task-manager", min_length=1, max_length=100)
    stream_block_ms: int = Field(default=1000, ge=1, le=3_600_000)
    leader_heartbeat_interval: Seconds = 3.0
    leader_retry_interval: Seconds = 5.0
    leader_deposition_grace: Seconds | None = None
    reconciliation_interval: Seconds = 30.0
    keep_ended_tasks: Patience | None = 3600.0
    retry_backoff: Seconds = 1.0
    retry_backoff_max: Seconds = 60.0
    retry_backoff_multiplier: float = Field(default=2.0, ge=1, le=1000, allow_inf_nan=False)
    running_heartbeat_interval: Seconds = 3.0
    loop_block_warning: Patience = BlockPolicy().warning.total_seconds()
    loop_block_limit: Patience = BlockPolicy().limit.total_seconds()
    process_pool_size: int | None = Field(default=None, ge=1, le=10_000)
    max_retries: int | None = Field(default=RetryPolicy().max_retries, ge=0, le=MOST_RETRIES)
    max_lost_attempts: int | None = Field(default=RetryPolicy().max_lost_attempts, ge=0, le=MOST_RETRIES)
    timezone: str = "UTC"
    refresh_interval: Seconds = 1.0
    shutdown_timeout: Patience = 20.0
    start_timeout: Seconds | None = None
    api_max_body_bytes: int = Field(default=262_144, ge=1024, le=1_048_576)
    api_trusted_origins: str | None = None
    roles: Roles = None
    queues: Queues = None
    keep_log_lines: bool = True
    tracing: bool = False
    enabled: bool = True

    @field_validator("redis_key_prefix", "worker_service_name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must not hold control characters")
        return value

    @field_validator("max_retries", "max_lost_attempts", mode="before")
    @classmethod
    def _any_number(cls, value: Any) -> Any:
        """An empty variable of the environment is the default, so None needs a word there."""
        return None if isinstance(value, str) and value.lower() == "none" else value

    @field_validator("api_trusted_origins")
    @classmethod
    def _origins(cls, origins: str | None) -> str | None:
        checked_origins(origins or "")
        return origins

    @field_validator("*", mode="wrap")
    @classmethod
    def _show_the_value(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Add the given value to the text of a refusal, unless it may be a secret."""
        try:
            return handler(value)
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            shown = "" if info.field_name in _SECRETS else f"={echo(value)}"
            text = f"{info.field_name}{shown}: {reason}"
            raise PydanticCustomError("impossible_value", "{text}", {"text": text}) from None

    @model_validator(mode="after")
    def _hang_together(self) -> Self:
        """Build the policies, which refuse values that contradict each other."""
        try:
            self.node_policy()
            self.duties()
            self.retention()
            self.defaults()
            load_zone(self.timezone)
        except DefinitionError as error:
            raise PydanticCustomError("impossible_values", "{text}", {"text": str(error)}) from None
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Restore the value before a refused assignment: pydantic assigns first, and runs model validators then."""
        before: object = getattr(self, name, None)
        try:
            super().__setattr__(name, value)
        except ValidationError:
            if name in type(self).model_fields:
                object.__setattr__(self, name, before)
            raise

    def node_policy(self) -> NodePolicy:
        """The policy of a node: its intervals, timeouts and concurrency."""
        return NodePolicy(
            leadership=LeadershipPolicy(
                heartbeat=duration("leader_heartbeat_interval", self.leader_heartbeat_interval),
                retry_interval=duration("leader_retry_interval", self.leader_retry_interval),
            ),
            worker=WorkerPolicy(
                concurrency=self.concurrent_tasks,
                heartbeat=duration("running_heartbeat_interval", self.running_heartbeat_interval),
                wait=timedelta(milliseconds=self.stream_block_ms),
            ),
            blocking=BlockPolicy(
                warning=duration("loop_block_warning", self.loop_block_warning),
                limit=duration("loop_block_limit", self.loop_block_limit),
            ),
            poll_interval=duration("poll_interval", self.poll_interval),
            deposition_grace=None
            if self.leader_deposition_grace is None
            else duration("leader_deposition_grace", self.leader_deposition_grace),
            refresh_interval=duration("refresh_interval", self.refresh_interval),
            reconciliation_interval=duration("reconciliation_interval", self.reconciliation_interval),
            keep_ended_tasks=None if (kept := self.keep_ended_tasks) is None else duration("keep_ended_tasks", kept),
            shutdown_timeout=duration("shutdown_timeout", self.shutdown_timeout),
        )

    def duties(self) -> Duties:
        """The roles of this process, and the queues that it serves."""
        return duties_of(self.roles, self.queues)

    def retention(self) -> Retention:
        """How much history the store keeps."""
        return Retention(runs=self.statistics_history_runs, ttl=timedelta(seconds=self.statistics_redis_expiration))

    def defaults(self) -> Defaults:
        """The values for a task that neither it nor its group sets."""
        return Defaults(
            allow_parallel=self.allow_parallel,
            timezone=self.timezone,
            retry=RetryPolicy(
                initial=duration("retry_backoff", self.retry_backoff),
                maximum=duration("retry_backoff_max", self.retry_backoff_max),
                multiplier=self.retry_backoff_multiplier,
                max_retries=self.max_retries,
                max_lost_attempts=self.max_lost_attempts,
            ),
        )


class Config(OperationalConfig):
    """The configuration of an application on Redis. Without `redis_host` there is none.

    Attributes:
        redis_host: Host name, or a URL: `redis://`, `rediss://` (TLS) or `unix://`. What a URL says wins over
            the fields below.
        redis_port: Port.
        redis_username: ACL user.
        redis_password: Password; never shown.
        redis_db: Number of the database.
        redis_tls: Talk TLS; the same as a `rediss://` URL.
        redis_tls_ca_file: Certificates to trust instead of the system's.
        redis_sentinels: Sentinels that know the primary, "host:port,host:port"; `redis_host` is then not used.
        redis_sentinel_service: Name of the service they watch.
        redis_sentinel_username: ACL user of the sentinels.
        redis_sentinel_password: Their password; never shown.
        redis_cluster: `redis_host` is a node of a Redis Cluster.
        redis_connect_timeout: Longest time to connect.
        redis_timeout: Longest time of one command.
    """

    redis_host: str
    redis_port: int = Field(default=6379, ge=1, le=65535)
    redis_username: str | None = None
    redis_password: str | None = Field(default=None, repr=False)
    redis_db: int = Field(default=0, ge=0, le=1_000_000)
    redis_tls: bool = False
    redis_tls_ca_file: str | None = None
    redis_sentinels: str | None = None
    redis_sentinel_service: str = "mymaster"
    redis_sentinel_username: str | None = None
    redis_sentinel_password: str | None = Field(default=None, repr=False)
    redis_cluster: bool = False
    redis_connect_timeout: Seconds = 2.0
    redis_timeout: Seconds = 2.0

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_variable(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """If the address of the store is all that is missing, say how to give it."""
        try:
            return validate(data)
        except ValidationError as error:
            found = [(problem["type"], problem["loc"]) for problem in error.errors(include_input=False)]
            if found != [("missing", ("redis_host",))]:
                raise
        variable = f"{cls.model_config.get('env_prefix', '')}redis_host".upper()
        missing = PydanticCustomError(
            "missing",
            "Field required: set {variable}, or pass redis_host, or give the manager another backend",
            {"variable": variable},
        )
        raise ValidationError.from_exception_data(
            cls.__name__, [InitErrorDetails(type=missing, loc=("redis_host",), input=None)], hide_input=True
        )

    @field_validator("redis_host")
    @classmethod
    def _an_address(cls, host: str) -> str:
        try:
            if MASK in host:
                raise ValueError(MASKED)
            check_host(host)
        except ValueError as error:
            raise PydanticCustomError("not_an_address", "{text}", {"text": str(error)}) from None
        return host

    @field_validator(
        "redis_username",
        "redis_password",
        "redis_tls_ca_file",
        "redis_sentinel_service",
        "redis_sentinel_username",
        "redis_sentinel_password",
    )
    @classmethod
    def _encodable(cls, value: str | None) -> str | None:
        """A lone surrogate, which a variable of the environment may hold, would fail in every request."""
        if value == MASK:
            raise PydanticCustomError("masked", "{text}", {"text": MASKED})
        if value is not None and any("\ud800" <= character <= "\udfff" for character in value):
            raise PydanticCustomError("not_unicode", "must be valid unicode")
        return value

    @field_validator("redis_sentinels")
    @classmethod
    def _addresses(cls, sentinels: str | None) -> str | None:
        try:
            sentinel_addresses(sentinels or "")
        except ValueError as error:
            raise PydanticCustomError("not_an_address", "{text}", {"text": str(error)}) from None
        return sentinels

    @model_validator(mode="after")
    def _one_topology(self) -> Self:
        host = f"redis_host={self._shown('redis_host', self.redis_host)!r}"
        if self.redis_cluster and self.redis_sentinels:
            sentinels = self._shown("redis_sentinels", self.redis_sentinels)
            text = f"redis_cluster=True: a cluster has no sentinels, redis_sentinels={sentinels!r}"
        elif self.redis_cluster and self.redis_host.startswith("unix://"):
            text = f"redis_cluster=True: a cluster has no socket, {host}"
        elif self.redis_tls and is_url(self.redis_host) and not self.redis_host.startswith("rediss://"):
            text = f"redis_tls=True: a URL with TLS begins with rediss://, {host}"
        else:
            return self
        raise PydanticCustomError("impossible_values", "{text}", {"text": text})

    def redis_settings(self) -> RedisSettings:
        """The settings of the Redis store."""
        sentinels = sentinel_addresses(self.redis_sentinels or "")
        url = self.redis_host if is_url(self.redis_host) else None
        return RedisSettings(
            url=url,
            host="localhost" if url else self.redis_host,
            port=self.redis_port,
            db=self.redis_db,
            username=self.redis_username,
            password=self.redis_password,
            tls=self.redis_tls,
            tls_ca_file=self.redis_tls_ca_file,
            sentinel=SentinelSettings(
                hosts=sentinels,
                service=self.redis_sentinel_service,
                username=self.redis_sentinel_username,
                password=self.redis_sentinel_password,
            )
            if sentinels
            else None,
            cluster=self.redis_cluster,
            prefix=self.redis_key_prefix,
            connect_timeout=duration("redis_connect_timeout", self.redis_connect_timeout),
            timeout=duration("redis_timeout", self.redis_timeout),
        )

    @model_serializer(mode="wrap")
    def _without_secrets(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Mask secrets in every dump, as in `repr`. The attributes keep the given values."""
        return {name: self._shown(name, value, mask=MASK) for name, value in handler(self).items()}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, self._shown(name or "", value)

    def _shown(self, name: str, value: object, mask: str = "") -> object:
        if not isinstance(value, str) or not name.startswith("redis_") or name == "redis_key_prefix":
            return value
        if name in ("redis_password", "redis_sentinel_password"):
            return MASK
        secrets = (self.redis_password, self.redis_sentinel_password, *secrets_in(self.redis_host))
        return masked(with_masks(value, mask) if name == "redis_host" else value, secrets, MASK)


def configured_backend(config: OperationalConfig) -> OpenBackend:
    """The Redis store of a Config. Errors: TypeError for a configuration that names no store; ImportError without
    redis-py."""
    if not isinstance(config, Config):
        raise TypeError("OperationalConfig names no store: pass backend=..., or a Config with redis_host")
    return redis_backend(config.redis_settings())
