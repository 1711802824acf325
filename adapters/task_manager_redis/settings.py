"""The address of Redis and the options of its connections. The settings hold secrets and show none."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.policy import require_positive
from task_manager_redis.address import check_url, is_url, masked, scheme_of, secrets_in, without_secrets

MASK = "***"
"""Stands for a secret in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelSettings:
    """The sentinels, which know the address of the primary. `hosts` are (host, port) pairs. The credentials are for the
    sentinels."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.hosts:
            raise DefinitionError("redis_sentinels", self.hosts, "at least one sentinel is needed")

    def __repr__(self) -> str:
        return masked(_repr_of_fields(self), [self.password], MASK)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """One server, or the primary of a Sentinel, or a Cluster.

    `url` (redis://, rediss://, unix://) overrides the fields host, port, db, username and password. A part that the URL
    leaves out comes from its field. The scheme of the URL decides about TLS. The query of the URL may hold options of
    redis-py, such as `?ssl_ca_certs=ca.pem`. Applications that share a database need different prefixes. A command
    fails after `connect_timeout` + `timeout` at the latest.
    """

    url: str | None = field(default=None, repr=False)
    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca_file: str | None = None
    sentinel: SentinelSettings | None = None
    cluster: bool = False
    prefix: str = "task_manager"
    connect_timeout: timedelta = timedelta(seconds=2)
    timeout: timedelta = timedelta(seconds=2)

    def __post_init__(self) -> None:
        if self.url is None and is_url(self.host):
            raise DefinitionError(
                "redis_host", scheme_of(self.host), "a host name is expected here; a URL goes into `url`"
            )
        if self.url is not None:
            try:
                check_url(self.url)
            except ValueError as error:
                raise DefinitionError("redis_host", scheme_of(self.url), str(error)) from None
        if self.tls and self.url is not None and not self.url.startswith("rediss://"):
            raise DefinitionError("redis_tls", self.tls, "a URL with TLS begins with rediss://")
        if self.sentinel is not None and self.cluster:
            raise DefinitionError("redis_cluster", self.cluster, "a cluster has no sentinels")
        if self.cluster and self.url is not None and self.url.startswith("unix://"):
            raise DefinitionError("redis_host", without_secrets(self.url), "a cluster is reached over the network")
        if not self.prefix:
            raise DefinitionError("redis_key_prefix", self.prefix, "must not be empty")
        require_positive("redis_connect_timeout", self.connect_timeout)
        require_positive("redis_timeout", self.timeout)

    def __repr__(self) -> str:
        return self._masked(_repr_of_fields(self))

    @property
    def address(self) -> str:
        """The address for messages: without credentials and options, and with *** for a password that stands in the
        wrong place."""
        if self.sentinel is not None:
            hosts = ", ".join(f"{host}:{port}" for host, port in self.sentinel.hosts)
            return self._masked(f"service {self.sentinel.service!r} of the sentinels {hosts}")
        return self._masked(
            f"{self.host}:{self.port}" if self.url is None else without_secrets(self.url, self.host, self.port)
        )

    def _masked(self, text: str) -> str:
        passwords = [self.password, None if self.sentinel is None else self.sentinel.password]
        secrets = () if self.url is None else secrets_in(self.url)
        return masked(text, (*passwords, *secrets), MASK)


def _repr_of_fields(settings: SentinelSettings | RedisSettings) -> str:
    texts = (f"{one.name}={getattr(settings, one.name)!r}" for one in fields(settings) if one.repr)
    return f"{type(settings).__name__}({', '.join(texts)})"
