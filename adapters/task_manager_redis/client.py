"""The only module that sends commands through redis-py. It answers plain values, or raises a BackendError.

Commands and blocking reads have separate connections, so that waiting readers do not block commands. Verbs that keep
leases alive do not queue behind the requests of users. The client never repeats a command that failed: it does not
know whether the command took effect, and only the caller knows what a second answer would mean. The next call opens a
new connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as NoAnswerInTime

from task_manager_core.domain.errors import BackendError, BackendMisconfigured, BackendUnavailable
from task_manager_core.domain.policy import Retention
from task_manager_redis.driver import Argument, Driver, connect, drop_idle, secrets_of
from task_manager_redis.keys import root_of
from task_manager_redis.replies import Reply, text, texts, unexpected
from task_manager_redis.scripts import Script, script
from task_manager_redis.settings import RedisSettings
from task_manager_redis.translation import FAILURES, Failure, code_of, translated

OLDEST_SERVER = (6, 2)
INSPECTED_FOR = 60.0
"""Seconds. An operator may change the settings of a server while it runs, so the client inspects it again."""

# The verbs that a process needs to keep its term, its claims and its presence, to dispatch slots and to know the tasks.
_PRIORITY_VERBS = frozenset(
    {"campaign", "observe", "depose", "renew", "resign", "agenda", "commit", "reap", "repair"}
    | {"claim", "extend", "settle", "release", "promote_due", "announce", "depart", "load"}
)
_COMMANDS_AT_ONCE = 16
LATE = 1.0
"""Seconds. If a request times out so much too late, the event loop stood, and the server is not to blame."""
_READERS_AT_ONCE = 1024
_LONGEST_TTL = timedelta(days=36500)
_MILLISECOND = timedelta(milliseconds=1)

# The errors that redis-py and this module raise when they parse an answer that is not one of a stream.
_NO_STREAM = (LookupError, TypeError, ValueError)

_INSPECT = script("inspect")


class RedisClient:
    """A client belongs to the event loop in which it was first used.

    `shift` is added to the server's time in every script, in milliseconds. It is 0; tests shift time with it.
    """

    def __init__(self, settings: RedisSettings, retention: Retention) -> None:
        self.root = root_of(settings.prefix)
        self.shift = 0
        self._address = settings.address
        self._secrets = secrets_of(settings)
        self._call_timeout = (settings.connect_timeout + settings.timeout).total_seconds()
        self._retention = (retention.runs, min(retention.ttl, _LONGEST_TTL) // _MILLISECOND)
        self._commands = connect(settings, timeout=settings.timeout, connections=4 * _COMMANDS_AT_ONCE)
        # Without a socket timeout: each blocking read has a timeout of its own.
        self._readers = connect(settings, timeout=None, connections=_READERS_AT_ONCE)
        self._priority_gate, self._request_gate = (asyncio.Semaphore(_COMMANDS_AT_ONCE) for _ in range(2))
        self._inspect_at = 0.0

    def key(self, *parts: str) -> str:
        return ":".join((self.root, *parts))

    async def run(self, verb: Script, *arguments: Argument) -> Reply:
        """Run a script. Errors: BackendUnavailable, BackendMisconfigured, BackendCorrupt."""
        ends = asyncio.get_running_loop().time() + self._call_timeout
        try:
            # The timeout includes the wait at the gate: if the server does not answer, the queue there gets long.
            gate = self._priority_gate if verb.name in _PRIORITY_VERBS else self._request_gate
            async with asyncio.timeout(self._call_timeout), gate:
                await self._inspect()
                return await self._evaluate(verb, arguments)
        except FAILURES as error:
            raise await self._failed(error, ends) from error

    async def value(self, *parts: str) -> str | None:
        """The value of a key; None without one."""
        key = self.key(*parts)
        try:
            async with asyncio.timeout(self._call_timeout), self._priority_gate:
                await self._inspect()
                reply = await _execute(self._commands, "GET", key)
        except FAILURES as error:
            raise await self._failed(error) from error
        return None if reply is None else text(reply)

    async def lines(self, key: str, first: int, limit: int) -> list[str]:
        """The lines of a list of statistics from the place `first` on. This is one request."""
        try:
            async with asyncio.timeout(self._call_timeout), self._request_gate:
                await self._inspect()
                reply = await _execute(self._commands, "LRANGE", key, first, first + limit - 1)
        except FAILURES as error:
            raise await self._failed(error) from error
        return texts(reply)

    async def last_after(self, stream: str, seen: str, limit: int, wait: timedelta) -> str:
        """Wait until a stream has an item after the item `seen`. The answer is the id of the last item."""
        block = max(wait // _MILLISECOND, 1)  # BLOCK 0 waits for ever: https://redis.io/docs/latest/commands/xread/
        reply = await self._block(block, "XREAD", "COUNT", limit, "BLOCK", block, "STREAMS", stream, seen)
        try:
            ((_, entries),) = cast("list[tuple[str, object]] | None", reply) or ((stream, ()),)
            return [seen, *(entry for entry, _ in _entries(entries))][-1]
        except _NO_STREAM as error:
            raise unexpected(reply, "entries of a stream") from error

    async def pop(self, keys: Sequence[str], wait: timedelta) -> bool:
        """Wait for an element of one of these lists, and take it. The answer says whether one came in time."""
        block = max(wait // _MILLISECOND, 1)
        return await self._block(block, "BLPOP", *keys, block / 1000) is not None

    async def _block(self, block: int, *command: Argument) -> Reply:
        """Run a command that waits for `block` milliseconds. The answer is also None if the server ends the wait early:
        CLIENT UNBLOCK does, with the code UNBLOCKED (https://redis.io/docs/latest/commands/client-unblock/)."""
        ends = asyncio.get_running_loop().time() + block / 1000 + self._call_timeout
        try:
            if self._inspection_due():
                async with asyncio.timeout(self._call_timeout), self._priority_gate:
                    await self._inspect()
            async with asyncio.timeout(block / 1000 + self._call_timeout):
                return await _execute(self._readers, *command)
        except FAILURES as error:
            if isinstance(error, ResponseError) and code_of(error) == "UNBLOCKED":
                return None
            raise await self._failed(error, ends) from error
        except _NO_STREAM as error:
            raise unexpected(command[0], "answered as it should be") from error

    async def close(self) -> None:
        await self._commands.aclose()
        await self._readers.aclose()

    async def _evaluate(self, verb: Script, arguments: tuple[Argument, ...]) -> Reply:
        # Two declared keys: while a slot moves between two nodes of a cluster, a node that lacks one of several keys
        # answers TRYAGAIN (https://redis.io/docs/latest/develop/reference/errors/common/tryagain/). The root is never a
        # key, so both nodes lack it. With one declared key, the new node would look like an empty store and accept
        # writes.
        head = (2, self.root, self.key("term"), self.shift, *self._retention)
        try:
            return await _execute(self._commands, "EVALSHA", verb.sha, *head, *arguments)
        except NoScriptError:
            # A restart, a failover and SCRIPT FLUSH empty the server's script cache; EVAL fills it again:
            # https://redis.io/docs/latest/develop/reference/errors/common/noscript/
            return await _execute(self._commands, "EVAL", verb.text, *head, *arguments)

    def _inspection_due(self) -> bool:
        return asyncio.get_running_loop().time() >= self._inspect_at

    async def _inspect(self) -> None:
        """Check that the server is new enough and evicts no keys: each minute, and after each lost connection."""
        if not self._inspection_due():
            return
        info = text(await self._evaluate(_INSPECT, ()))
        version = re.search(r"^redis_version:(\d+)\.(\d+)", info, re.MULTILINE)
        if version is not None and (int(version[1]), int(version[2])) < OLDEST_SERVER:
            raise BackendMisconfigured(f"{self._address} is Redis {version[1]}.{version[2]}; 6.2 or newer is needed")
        policy = re.search(r"^maxmemory_policy:(\S+)", info, re.MULTILINE)
        if policy is not None and policy[1] != "noeviction":
            raise BackendMisconfigured(
                f"{self._address} may evict keys when its memory is full (maxmemory-policy {policy[1]}), "
                "which loses tasks and runs: set maxmemory-policy noeviction"
            )
        self._inspect_at = asyncio.get_running_loop().time() + INSPECTED_FOR

    async def _failed(self, error: Failure, ends: float | None = None) -> BackendError:
        """The error that a verb raises. `ends`: the instant of the event loop at which the request timed out."""
        if not isinstance(error, (ResponseError, TimeoutError)):
            self._inspect_at = (
                0.0  # A builtin TimeoutError is our own: the call may only have waited too long at a gate.
            )
        elif code_of(error) == "READONLY":
            # A primary that became a replica may keep its connections open. A new connection asks for the address
            # again: https://redis.io/docs/latest/develop/reference/sentinel-clients/
            self._inspect_at = 0.0
            await drop_idle(self._commands)
            await drop_idle(self._readers)
        late = 0.0 if ends is None else asyncio.get_running_loop().time() - ends
        if late > LATE and isinstance(error, (TimeoutError, NoAnswerInTime)):
            return BackendUnavailable(
                f"{self._address}: no answer could be read in time, because a function blocked the event loop of this "
                f"process for {late:.1f} s or longer"
            )
        return translated(error, self._address, self._secrets)


async def _execute(driver: Driver, *command: Argument) -> Reply:
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        # redis-py types its answers as Any. An answer in RESP2 with decoded texts is always a Reply.
        return cast("Reply", await driver.execute_command(*command))
    except (AttributeError, TypeError) as error:
        if not _raised_by_asyncio(error):
            raise
        # Some versions of Python from 3.12 on call None when asyncio writes to a lost connection:
        # https://github.com/python/cpython/issues/136234
        raise ConnectionError("the connection was lost") from error
    finally:
        # redis-py sends with asyncio.wait_for. On Python 3.11 it drops a cancellation that arrives in the moment in
        # which the send completes (https://github.com/python/cpython/issues/86296, fixed in 3.12). The task that
        # cancelled would wait for ever. So this raises the cancellation again, and the reply counts as lost.
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


def _raised_by_asyncio(error: Exception) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("asyncio.")


def _entries(reply: object) -> list[tuple[str, dict[str, str]]]:
    """redis-py makes a pair of each item of a stream: its id, and a dictionary of its fields."""
    return cast("list[tuple[str, dict[str, str]]]", reply)
