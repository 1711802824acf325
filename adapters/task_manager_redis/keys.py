"""Names of keys: every part encoded, all under one hash tag, so that two different names never meet.

Percent-encoding leaves letters, digits and `_.-~`, and keeps different texts different. The characters that join parts
(`{`, `}`, `:`, `/` and the space) are not among them.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import RunId, TaskKey

_SEQUENCE_BITS = 19
_STREAMS = ("high", "low")


def encode(part: str) -> str:
    return quote(part, safe="")


def decode(part: str) -> str:
    return unquote(part, errors="strict")


def root_of(prefix: str) -> str:
    """What every key begins with. The braces make it the only part that a cluster hashes."""
    return f"{{{encode(prefix)}}}"


@lru_cache(maxsize=65536)
def encode_task(key: TaskKey) -> str:
    return f"{encode(key.group)}/{encode(key.name)}"


@lru_cache(maxsize=65536)
def decode_task(text: str) -> TaskKey:
    group, _, name = text.partition("/")
    try:
        return TaskKey(decode(group), decode(name))
    except (UnicodeError, DefinitionError):
        raise BackendCorrupt("a name of a task", f"{text!r:.120}") from None


def encode_run_id(run: RunId) -> str:
    return encode(run.value)


def decode_run_id(text: str) -> RunId:
    try:
        return RunId(decode(text))
    except UnicodeError:
        raise BackendCorrupt("a name of a run", f"{text!r:.120}") from None


def token_of(priority: str, entry: str) -> int:
    """The fencing token of an entry: its instant, its number within that, its stream. As `token_of` of the scripts."""
    milliseconds, number = entry.split("-")
    return (int(milliseconds) << _SEQUENCE_BITS | int(number)) << 1 | _STREAMS.index(priority)


def entry_of(token: int) -> tuple[str, str]:
    """The priority and the entry of a fencing token."""
    place = token >> 1
    return _STREAMS[token & 1], f"{place >> _SEQUENCE_BITS}-{place & (1 << _SEQUENCE_BITS) - 1}"
