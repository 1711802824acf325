"""Where Redis is and how to talk to it. Holds secrets, and shows none."""

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
    """Who knows where the primary is. `hosts` are (host, port) pairs; the credentials are those of the sentinels."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.hosts:
            raise DefinitionError("redis_sentinels", self.hosts, "at least one sentinel is needed")

    def __repr__(self) -> str:
        return _without(_shown_fields(self), [self.password])


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """One server, or a Sentinel's primary, or a Cluster.

    What `url` (redis://, rediss://, unix://) says wins over the fields: what it leaves out of host, port, db, username
    and password comes from them; its scheme says whether there is TLS. It may carry redis-py's options as a query, such
    as `?ssl_ca_certs=ca.pem`. `prefix` keeps applications apart that share a database. A command fails after
    `connect_timeout` + `timeout` at the latest.
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
                "redis_host", _shown(self.url), "special characters of a password are percent-encoded"
            )
        if self.url is not None and not _names_a_database(self.url):
            raise DefinitionError("redis_host", _scheme(self.url), "the path of a URL is the number of a database")
        if self.tls and self.url is not None and not self.url.startswith("rediss://"):
            raise DefinitionError("redis_tls", self.tls, "a URL with TLS begins with rediss://")
        if self.sentinel is not None and self.cluster:
            raise DefinitionError("redis_cluster", self.cluster, "a cluster has no sentinels")
        if self.cluster and self.url is not None and self.url.startswith("unix://"):
            raise DefinitionError("redis_host", _shown(self.url), "a cluster is reached over the network")
        if not self.prefix:
            raise DefinitionError("redis_key_prefix", self.prefix, "must not be empty")
        require_positive("redis_connect_timeout", self.connect_timeout)
        require_positive("redis_timeout", self.timeout)

    def __repr__(self) -> str:
        return self._masked(_shown_fields(self))

    @property
    def address(self) -> str:
        """Where it is, for messages: without credentials and options, and without a password that took their place."""
        if self.sentinel is not None:
            hosts = ", ".join(f"{host}:{port}" for host, port in self.sentinel.hosts)
            return self._masked(f"service {self.sentinel.service!r} of the sentinels {hosts}")
        return self._masked(f"{self.host}:{self.port}" if self.url is None else _shown(self.url, self.host, self.port))

    def _masked(self, text: str) -> str:
        passwords = [self.password, None if self.sentinel is None else self.sentinel.password]
        if self.url is not None and _readable(self.url):
            password = urlsplit(self.url).password
            passwords += [password, password and unquote(password)]
        return _without(text, passwords)


def _without(text: str, secrets: Iterable[str | None]) -> str:
    """A password that was given as a name, too, is a password. As a word of its own: a short one is a part of many."""
    for secret in filter(None, secrets):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text


def _shown_fields(settings: SentinelSettings | RedisSettings) -> str:
    shown = (f"{one.name}={getattr(settings, one.name)!r}" for one in fields(settings) if one.repr)
    return f"{type(settings).__name__}({', '.join(shown)})"


def _scheme(url: str) -> str:
    """All that is shown of a URL whose other parts may be anything."""
    scheme, found, _ = url.partition("://")
    return f"{scheme}://…" if found and scheme.isalnum() else "(not a URL)"


def _readable(url: str) -> bool:
    """Does every part stand where it seems to? An unescaped character of a password would move the others."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return not parts.fragment and "@" not in parts.path + parts.query


def _names_a_database(url: str) -> bool:
    """redis-py would take the default instead of a number that it cannot read."""
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.path in {"", "/"} or parts.path[1:].isdecimal()


def _shown(url: str, host: str = "", port: int = 0) -> str:
    """A URL without what could be secret (no user, no password, no options), with what it leaves to the fields."""
    if not _readable(url):
        return "(a URL that cannot be read)"
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host, port = parts.hostname or host, parts.port or port
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}{parts.path}"
