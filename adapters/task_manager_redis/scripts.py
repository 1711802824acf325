"""The Lua scripts beside this file, each with the prelude before it. A script is one verb in one atomic step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


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
    text = f"{_text('prelude')}\n{_text(name)}"
    # Redis names scripts by SHA-1; nothing is protected by it.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
