"""The Lua scripts of the folder `scripts`. Each begins with the prelude and the parts that its first line names.

A script does one verb in one atomic step.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_NEEDS = re.compile(r"-- Needs ([a-z ]+)\.\n")


@dataclass(frozen=True, slots=True)
class Script:
    """A script. The server knows it by the SHA-1 digest of its text."""

    name: str
    text: str
    sha: str


@cache
def _text(name: str) -> str:
    return (files("task_manager_redis") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


@cache
def _code(name: str) -> str:
    """A script without comments and indentation: the server keeps the text of each script in its memory."""
    return "\n".join(line for line in map(str.strip, _text(name).splitlines()) if line and not line.startswith("--"))


@cache
def script(name: str) -> Script:
    """The script of this name. If it does not exist, the module that asks for it cannot be imported."""
    needs = _NEEDS.match(_text(name))
    parts = needs[1].split(" and ") if needs else []
    text = "\n".join(map(_code, ("prelude", *parts, name)))
    # EVALSHA names a script by its SHA-1 digest (https://redis.io/docs/latest/commands/evalsha/). No security rests on
    # it.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
