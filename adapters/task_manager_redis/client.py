"""The one door to redis-py: scripts and reads go in; plain values or a BackendError come out.

Commands and blocking reads have connections of their own, so that a reader that waits starves nobody. The verbs with
which a process keeps what it holds do not queue behind what people ask for. A command that fails is never repeated
here: whether it took effect is unknown, and only its caller knows what a second answer would mean. The next call
connects anew.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import cast

from redis.exceptions import NoScriptError, ResponseError

from task_manager_core.domain.errors import BackendError, BackendMisconfigured
from task_manager_core.domain.policy import Retention
from task_manager_redis.driver import Argument, Driver, connect, drop_idle, secrets_of
from task_manager_redis.keys import root_of
from task_manager_redis.replies import Reply, text, unexpected
from task_manager_redis.scripts import Script, script
from task_manager_redis.settings import RedisSettings
from task_manager_redis.translation import FAILURES, Failure, code_of, translated

OLDEST_SERVER = (6, 2)
INSPECTED_FOR = 60.0
"""Seconds. Settings of a server can be changed while it runs."""

# The term and the slots that it is for, the claims, the place among the living, and what is known of the tasks.
_KEEPING = frozenset(
    {"campaign", "renew", "resign", "agenda", "commit", "reap", "repair"}
    | {"claim", "extend", "settle", "release", "promote_due", "announce", "depart", "load"}
)
_COMMANDS_AT_ONCE = 16
_READERS_AT_ONCE = 1024
_LONGEST_LIFE = timedelta(days=36500)
_MILLISECOND = timedelta(milliseconds=1)

# What redis-py's reading of entries, and ours, raises of an answer that is no stream's.
_NO_STREAM = (LookupError, TypeError, ValueError)

_INSPECT = script("inspect")


class RedisClient:
    """Belongs to the event loop it was first used in.

    `shift` is added to the server's time in every script, in milliseconds. It is 0; tests move time with it.
    """

    def __init__(self, settings: RedisSettings, retention: Retention) -> None:
        self.root = root_of(settings.prefix)
        self.shift = 0
        self._address = settings.address
        self._secrets = secrets_of(settings)
        self._patience = (settings.connect_timeout + settings.timeout).total_seconds()
        self._retention = (retention.runs, min(retention.ttl, _LONGEST_LIFE) // _MILLISECOND)
        self._commands = connect(settings, timeout=settings.timeout, connections=4 * _COMMANDS_AT_ONCE)
        # Without a timeout of the socket: how long an answer may take differs from read to read.
        self._readers = connect(settings, timeout=None, connections=_READERS_AT_ONCE)
        self._keeping, self._asking = (asyncio.Semaphore(_COMMANDS_AT_ONCE) for _ in range(2))
        self._inspect_at = 0.0

    def key(self, *parts: str) -> str:
        return ":".join((self.root, *parts))

    async def run(self, verb: Script, *arguments: Argument) -> Reply:
        """Run a script. Errors: BackendUnavailable, BackendMisconfigured, BackendCorrupt."""
        try:
            # Over everything: the queue at the gate of a server that does not answer would be long.
            gate = self._keeping if verb.name in _KEEPING else self._asking
            async with asyncio.timeout(self._patience), gate:
                await self._inspect()
                return await self._evaluate(verb, arguments)
        except FAILURES as error:
            raise await self._failed(error) from error

    async def newest(self, key: str, limit: int, end: str = "+") -> tuple[list[str], str]:
        """The lines of a stream of statistics, the newest first, and the end of those before them: one request."""
        try:
            async with asyncio.timeout(self._patience), self._asking:
                await self._inspect()
                reply = await _execute(self._commands, "XREVRANGE", key, end, "-", "COUNT", limit)
                entries = _entries(reply)
                return [fields["line"] for _, fields in entries], f"({entries[-1][0]}" if entries else end
        except FAILURES as error:
            raise await self._failed(error) from error
        except _NO_STREAM as error:
            raise unexpected(key, "a stream of lines") from error

    async def last_after(self, stream: str, seen: str, limit: int, wait: timedelta) -> str:
        """Wait until something comes to a stream after the entry that was seen; the answer is the last one then."""
        block = max(wait // _MILLISECOND, 1)  # BLOCK 0 would wait for ever.
        reply = await self._block(block, "XREAD", "COUNT", limit, "BLOCK", block, "STREAMS", stream, seen)
        try:
            ((_, entries),) = cast("list[tuple[str, object]] | None", reply) or ((stream, ()),)
            return [seen, *(entry for entry, _ in _entries(entries))][-1]
        except _NO_STREAM as error:
            raise unexpected(reply, "entries of a stream") from error

    async def pop(self, key: str, wait: timedelta) -> bool:
        """Wait for something in a list, and take it: did it come in time?"""
        block = max(wait // _MILLISECOND, 1)
        return await self._block(block, "BLPOP", key, block / 1000) is not None

    async def _block(self, block: int, *command: Argument) -> Reply:
        """A command that waits for so many milliseconds; None too if the server wakes it without an answer."""
        try:
            if self._suspicious():
                async with asyncio.timeout(self._patience), self._keeping:
                    await self._inspect()
            async with asyncio.timeout(block / 1000 + self._patience):
                return await _execute(self._readers, *command)
        except FAILURES as error:
            if isinstance(error, ResponseError) and code_of(error) == "UNBLOCKED":
                return None
            raise await self._failed(error) from error
        except _NO_STREAM as error:
            raise unexpected(command[0], "answered as it should be") from error

    async def close(self) -> None:
        await self._commands.aclose()
        await self._readers.aclose()

    async def _evaluate(self, verb: Script, arguments: tuple[Argument, ...]) -> Reply:
        # Two keys, because a node that gives a slot away or takes it over answers TRYAGAIN as long as one of several is
        # missing, and the root is no key at all. With one it would pretend that the store is empty, and take writes.
        head = (2, self.root, self.key("term"), self.shift, *self._retention)
        try:
            return await _execute(self._commands, "EVALSHA", verb.sha, *head, *arguments)
        except NoScriptError:
            # The server forgets scripts when it restarts and when another one takes over. EVAL teaches it again.
            return await _execute(self._commands, "EVAL", verb.text, *head, *arguments)

    def _suspicious(self) -> bool:
        return asyncio.get_running_loop().time() >= self._inspect_at

    async def _inspect(self) -> None:
        """Look now and then, and after every loss of a connection, whether this server keeps what it is given."""
        if not self._suspicious():
            return
        said = text(await self._evaluate(_INSPECT, ()))
        version = re.search(r"^redis_version:(\d+)\.(\d+)", said, re.MULTILINE)
        if version is not None and (int(version[1]), int(version[2])) < OLDEST_SERVER:
            raise BackendMisconfigured(f"{self._address} is Redis {version[1]}.{version[2]}; 6.2 or newer is needed")
        policy = re.search(r"^maxmemory_policy:(\S+)", said, re.MULTILINE)
        if policy is not None and policy[1] != "noeviction":
            raise BackendMisconfigured(
                f"{self._address} may evict keys when its memory is full (maxmemory-policy {policy[1]}), "
                "which loses tasks and runs: set maxmemory-policy noeviction"
            )
        self._inspect_at = asyncio.get_running_loop().time() + INSPECTED_FOR

    async def _failed(self, error: Failure) -> BackendError:
        if not isinstance(error, (ResponseError, TimeoutError)):
            self._inspect_at = 0.0  # A TimeoutError that is no redis-py's was ours, and may be of the queue at a gate.
        elif code_of(error) == "READONLY":
            # A primary that became a replica keeps its connections open; new ones find the new primary.
            self._inspect_at = 0.0
            await drop_idle(self._commands)
            await drop_idle(self._readers)
        return translated(error, self._address, self._secrets)


async def _execute(driver: Driver, *command: Argument) -> Reply:
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        # redis-py types answers as Any; RESP2 with decoded texts holds nothing else than a Reply.
        return cast("Reply", await driver.execute_command(*command))
    except (AttributeError, TypeError) as error:
        if not _raised_by_asyncio(error):
            raise
        # From Python 3.12 on, until it was mended, asyncio calls what is None when it writes to a connection that has
        # been lost: https://github.com/python/cpython/issues/136234
        raise ConnectionError("the connection was lost") from error
    finally:
        # redis-py sends with asyncio.wait_for, which on Python 3.11 forgets a cancellation that comes while it
        # completes. Whoever cancelled would wait for ever; so the reply counts as lost.
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


def _raised_by_asyncio(error: Exception) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("asyncio.")


def _entries(reply: object) -> list[tuple[str, dict[str, str]]]:
    """redis-py makes pairs of an id and a dictionary of the entries of a stream."""
    return cast("list[tuple[str, dict[str, str]]]", reply)
