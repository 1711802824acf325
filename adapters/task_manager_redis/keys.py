"""The names of keys. Each part is percent-encoded, so that different parts never make the same name.

Percent-encoding keeps letters, digits and `_.-~`, and encodes all other characters. So a part never contains the
characters that join parts: `{`, `}`, `:`, `/` and the space.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from task_manager_core.domain.duties import DEFAULT_QUEUE
from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.policy import Priority

_needs_no_encoding = re.compile(r"[0-9A-Za-z_.~-]*").fullmatch


def encode(part: str) -> str:
    # Most names and all names of runs need no encoding. `quote` takes much longer to find that out.
    return part if _needs_no_encoding(part) else quote(part, safe="")


def decode(part: str) -> str:
    return unquote(part, errors="strict")


def for_display(part: str) -> str:
    """A part as a text for the log, also if another program wrote it."""
    return unquote(part, errors="replace").encode(errors="replace").decode()


def root_of(prefix: str) -> str:
    """The beginning of every key. A cluster hashes only the text between the braces, so all keys stand in one slot:
    https://redis.io/docs/latest/commands/cluster-keyslot/"""
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


@lru_cache(maxsize=1024)
def encode_lane(priority: Priority, queue: str) -> str:
    """The lane of a priority and a queue. Those of the default queue have the names that they had before there were
    others."""
    return priority.value if queue == DEFAULT_QUEUE else f"{priority.value}:{encode(queue)}"


def encode_queue(queue: str) -> str:
    """A queue as the scripts name it."""
    return "" if queue == DEFAULT_QUEUE else encode(queue)


def encode_run_id(run: RunId) -> str:
    return encode(run.value)


def decode_run_id(text: str) -> RunId:
    try:
        return RunId(decode(text))
    except UnicodeError:
        raise BackendCorrupt("a name of a run", f"{text!r:.120}") from None
