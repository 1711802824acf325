"""The Lua scripts beside this file, each with the prelude before it and the parts that it needs.

A script is one verb in one atomic step.
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
    """A script as the server knows it: by the digest of its text."""

    name: str
    text: str
    sha: str


@cache
def _text(name: str) -> str:
    return (files("task_manager_redis") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


@cache
def script(name: str) -> Script:
    """The script of this name, or an error of the import that asks for it."""
    needs = _NEEDS.match(_text(name))
    parts = needs[1].split(" and ") if needs else []
    text = "\n".join(map(_text, ("prelude", *parts, name)))
    # Redis names scripts by SHA-1; nothing is protected by it.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
