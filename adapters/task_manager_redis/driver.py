"""Builds redis-py's clients from settings: for one server, for the primary of a Sentinel, or for a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 - no OSError, but redis-py's
from redis.typing import EncodableT

from task_manager_core.domain.errors import DefinitionError
from task_manager_redis.settings import RedisSettings

Argument = str | int | float
Options = dict[str, Any]
"""Keyword arguments of redis-py. They may come from a URL, and they differ between versions: they have no exact
type."""

# The options that this adapter sets itself. It ignores them in a URL.
_FIXED_OPTIONS = frozenset(
    {"decode_responses", "encoding", "encoding_errors", "legacy_responses", "max_connections", "retry_on_timeout"}
)


_UNCHECKED_SECONDS = 0.02


class Driver(Protocol):
    """The methods of redis-py's clients that this adapter uses."""

    async def execute_command(self, *args: Argument) -> object: ...

    async def aclose(self) -> None: ...


class _Pool(Protocol):
    """redis-py's pool, whose methods have no types."""

    async def get_connection(self) -> AbstractConnection: ...

    async def release(self, connection: AbstractConnection) -> None: ...


def _is_open(connection: AbstractConnection) -> bool:
    """Has the server not closed the connection, as far as this process knows? redis-py has no public way to ask that
    without a read."""
    reader: asyncio.StreamReader | None = connection._reader  # pyright: ignore[reportPrivateUsage]
    return reader is not None and not reader.at_eof() and reader.exception() is None


class _Server:
    """One server. A connection that was used just now is used again at once.

    `Redis.execute_command` takes a connection from the pool for each command, checks it, and gives it back; retries and
    metrics come on top. All that takes longer than the command. A connection that was unused for longer may have been
    closed by the server, so the pool checks it. A command that fails closes all unused connections.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.connection_pool = cast("_Pool", client.connection_pool)
        self._unused: list[tuple[AbstractConnection, float]] = []
        self._callbacks = cast("dict[str, Callable[[object], object]]", client.response_callbacks)

    async def execute_command(self, *args: Argument) -> object:
        connection, answered = await self._connection(), False
        try:
            await connection.send_command(*args)
            try:
                answer = cast("object", await connection.read_response())
            except ResponseError:
                answered = True
                raise
            answered = True
        finally:
            if answered:
                self._unused.append((connection, asyncio.get_running_loop().time()))
            else:
                await self.connection_pool.release(connection)
                await self.drop_unused()
        callback = self._callbacks.get(str(args[0]))
        return answer if callback is None else callback(answer)

    async def _connection(self) -> AbstractConnection:
        if self._unused:
            connection, used_at = self._unused.pop()
            if asyncio.get_running_loop().time() - used_at < _UNCHECKED_SECONDS and _is_open(connection):
                return connection
            await self.connection_pool.release(connection)
        return await self.connection_pool.get_connection()

    async def drop_unused(self) -> None:
        """Close the unused connections."""
        unused, self._unused = self._unused, []
        for connection, _ in unused:
            await connection.disconnect()
            await self.connection_pool.release(connection)

    async def aclose(self) -> None:
        await self.drop_unused()
        await self._client.aclose()


class _Primary:
    """The primary of a Sentinel, with the clients of the sentinels. Some versions of redis-py do not close these:
    https://github.com/redis/redis-py/issues/3201"""

    def __init__(self, client: Redis, sentinels: Sequence[Redis]) -> None:
        self.client = client
        self._typed: Driver = client
        self._sentinels = sentinels

    async def execute_command(self, *args: Argument) -> object:
        return await self._typed.execute_command(*args)

    async def aclose(self) -> None:
        for client in (self.client, *self._sentinels):
            await client.aclose()


# hiredis declares a tuple of one item, and no result.
_pack = cast("Callable[[tuple[EncodableT, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class _Packed(AbstractConnection):
    """Packs a command with hiredis. The packer of redis-py is written in Python and needs more time than the rest of a
    command with many arguments."""

    def pack_command(self, *args: EncodableT) -> list[bytes]:
        try:
            return [_pack(args)]
        except UnicodeEncodeError:  # hiredis knows no `encoding_errors`.
            return super().pack_command(*args)


class _PackedConnection(_Packed, Connection):
    """A connection by TCP."""


class _PackedSSLConnection(_Packed, SSLConnection):
    """A connection by TLS."""


class _PackedUnixConnection(_Packed, UnixDomainSocketConnection):
    """A connection by a socket of the file system."""


_PACKED: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _PackedConnection,
    SSLConnection: _PackedSSLConnection,
    UnixDomainSocketConnection: _PackedUnixConnection,
}


class _Cluster(RedisCluster):
    """A cluster's client that raises ConnectionError where redis-py raises AttributeError."""

    async def execute_command(self, *args: EncodableT, **kwargs: object) -> object:
        try:
            answer: object = await super().execute_command(*args, **kwargs)
        except AttributeError as error:
            # redis-py used a node or a connection that is None. It does not know the node that ASK names if that node
            # has no slots yet (https://github.com/redis/redis-py/pull/4214); its map of the nodes may be out of date
            # (https://github.com/redis/redis-py/issues/3835); or another call has closed the connection to read the
            # map.
            raise ConnectionError("the nodes of the cluster are changing") from error
        return answer


def connect(settings: RedisSettings, *, timeout: timedelta | None, connections: int) -> Driver:
    """A client that is not connected yet. `timeout` bounds the wait for an answer, `connections` the number of
    connections."""
    kind, options = _options(settings)
    options["socket_timeout"] = None if timeout is None else timeout.total_seconds()
    encrypted = issubclass(kind, SSLConnection)
    if settings.sentinel is not None:
        sentinel = settings.sentinel
        own: Options = {"username": sentinel.username, "password": sentinel.password}
        shared = {name: value for name, value in options.items() if name.startswith(("socket_", "ssl_"))}
        own |= {"ssl": encrypted, "socket_timeout": settings.timeout.total_seconds(), "retry": options["retry"]}
        watched = Sentinel(sentinel.hosts, sentinel_kwargs=shared | own)  # type: ignore[no-untyped-call]  # redis-py's
        options |= {"ssl": encrypted, "max_connections": connections}
        primary: Redis = watched.master_for(sentinel.service, **options)  # pyright: ignore[reportUnknownMemberType]
        return _Primary(primary, watched.sentinels)
    if settings.cluster:
        return _Cluster(ssl=encrypted, max_connections=connections, **options)
    pool = ConnectionPool(connection_class=_PACKED.get(kind, kind), max_connections=connections, **options)
    return _Server(Redis.from_pool(pool))


async def drop_idle(driver: Driver) -> None:
    """Close the unused connections. The client of a cluster needs no help: it reads the topology itself."""
    match driver:
        case _Server():
            await driver.drop_unused()
        case _Primary():
            await driver.client.connection_pool.disconnect(inuse_connections=False)
        case _:
            pass


def check(settings: RedisSettings) -> None:
    """Raise DefinitionError for options that redis-py refuses. This opens no connection."""
    kind, options = _options(settings)
    try:
        kind(**options)
    except (TypeError, ValueError) as error:
        raise DefinitionError("redis_host", settings.address, f"options that redis-py refuses: {error}") from None


def secrets_of(settings: RedisSettings) -> tuple[str, ...]:
    """The texts that must not appear in any message."""
    _, options = _options(settings)
    found = [str(options[name]) for name in ("password", "ssl_password") if options.get(name)]
    if settings.sentinel is not None and settings.sentinel.password:
        found.append(settings.sentinel.password)
    return tuple(found)


def _options(settings: RedisSettings) -> tuple[type[AbstractConnection], Options]:
    """The class of connection and its arguments. The URL overrides the fields, and this adapter's own options override
    both."""
    options: Options = {"host": settings.host, "port": settings.port, "db": settings.db}
    options |= {"username": settings.username, "password": settings.password}
    kind: type[AbstractConnection] = SSLConnection if settings.tls else Connection
    if settings.url is not None:
        try:
            parsed: Options = {**parse_url(settings.url)}
        except ValueError as error:
            raise DefinitionError("redis_host", settings.address, str(error)) from None
        kind = parsed.pop("connection_class", Connection)
        options |= {name: value for name, value in parsed.items() if name not in _FIXED_OPTIONS}
    if settings.tls_ca_file is not None and issubclass(kind, SSLConnection):
        options.setdefault("ssl_ca_certs", settings.tls_ca_file)
    options |= {
        "socket_connect_timeout": settings.connect_timeout.total_seconds(),
        # No retries (redis-py retries up to ten times: https://github.com/redis/redis-py/pull/4082). A script whose
        # answer was lost may have taken effect, and a repeated script would give another answer.
        "retry": Retry(NoBackoff(), 0),
        # With RESP2 every server and every version of redis-py answers in the same form: lists, integers, texts.
        "protocol": 2,
        "decode_responses": True,
        # A value that is no UTF-8 is not ours. It must not fail the whole answer: the code that reads this value
        # refuses it.
        "encoding_errors": "surrogateescape",
    }
    if issubclass(kind, Connection):
        options["socket_keepalive"] = True
    if settings.cluster or settings.sentinel is not None:
        options = {name: value for name, value in options.items() if name != "db" or (value and not settings.cluster)}
    if settings.sentinel is not None or not issubclass(kind, Connection):
        del options["host"], options["port"]
    return kind, options
