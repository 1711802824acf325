"""Names of keys: every part encoded, all under one hash tag, so that two different names never meet.

Percent-encoding leaves letters, digits and `_.-~`, and keeps different texts different. The characters that join parts
(`{`, `}`, `:`, `/` and the space) are not among them.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import RunId, TaskKey


def encode(part: str) -> str:
    return quote(part, safe="")


def decode(part: str) -> str:
    return unquote(part, errors="strict")


def shown(part: str) -> str:
    """A part for people, whatever somebody else wrote."""
    return unquote(part, errors="replace").encode(errors="replace").decode()


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
