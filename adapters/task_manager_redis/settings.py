"""The address of Redis and the options of its connections. The settings hold secrets and show none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from urllib.parse import unquote, urlsplit

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.policy import require_positive

SCHEMES = ("redis", "rediss", "unix")


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
        return _mask(_repr_of_fields(self), [self.password])


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
        if self.url is None and "://" in self.host:
            raise DefinitionError(
                "redis_host", _scheme(self.host), "a host name is expected here; a URL goes into `url`"
            )
        if self.url is not None and not self.url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            raise DefinitionError("redis_host", _scheme(self.url), "a URL begins with redis://, rediss:// or unix://")
        if self.url is not None and not _readable(self.url):
            raise DefinitionError(
                "redis_host", _without_secrets(self.url), "special characters of a password are percent-encoded"
            )
        if self.url is not None and not _names_a_database(self.url):
            raise DefinitionError("redis_host", _scheme(self.url), "the path of a URL is the number of a database")
        if self.tls and self.url is not None and not self.url.startswith("rediss://"):
            raise DefinitionError("redis_tls", self.tls, "a URL with TLS begins with rediss://")
        if self.sentinel is not None and self.cluster:
            raise DefinitionError("redis_cluster", self.cluster, "a cluster has no sentinels")
        if self.cluster and self.url is not None and self.url.startswith("unix://"):
            raise DefinitionError("redis_host", _without_secrets(self.url), "a cluster is reached over the network")
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
            f"{self.host}:{self.port}" if self.url is None else _without_secrets(self.url, self.host, self.port)
        )

    def _masked(self, text: str) -> str:
        passwords = [self.password, None if self.sentinel is None else self.sentinel.password]
        if self.url is not None and _readable(self.url):
            password = urlsplit(self.url).password
            passwords += [password, password and unquote(password)]
        return _mask(text, passwords)


def _mask(text: str, secrets: Iterable[str | None]) -> str:
    """The text with *** for each secret. A secret is replaced only as a whole word, because a short one may be part of
    other words."""
    for secret in filter(None, secrets):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text


def _repr_of_fields(settings: SentinelSettings | RedisSettings) -> str:
    texts = (f"{one.name}={getattr(settings, one.name)!r}" for one in fields(settings) if one.repr)
    return f"{type(settings).__name__}({', '.join(texts)})"


def _scheme(url: str) -> str:
    """The scheme of a URL: the only part that a message may show if the other parts were not checked."""
    scheme, found, _ = url.partition("://")
    return f"{scheme}://…" if found and scheme.isalnum() else "(not a URL)"


def _readable(url: str) -> bool:
    """Whether the URL has its parts in the right places. A password with an unescaped character would move them."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return not parts.fragment and "@" not in parts.path + parts.query


def _names_a_database(url: str) -> bool:
    """Whether the path is the number of a database. If it is not, redis-py uses database 0 without an error."""
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.path in {"", "/"} or parts.path[1:].isdecimal()


def _without_secrets(url: str, host: str = "", port: int = 0) -> str:
    """A URL without its possible secrets: without user, password and options. A missing host or port comes from the
    fields."""
    if not _readable(url):
        return "(a URL that cannot be read)"
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host, port = parts.hostname or host, parts.port or port
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}{parts.path}"
