"""The history of a simulation, in a form that two runs can be compared by."""

from __future__ import annotations

import hashlib
from collections import deque

_CHUNK = 1024  # lines hashed at once: joining them is cheaper than as many updates


class Trace:
    """A digest of all lines `time|node|callback`, and the text of the last few."""

    __slots__ = ("_digest", "_keep", "_last", "_lines")

    def __init__(self, *, keep: int) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._keep = keep
        self._last: deque[str] = deque(maxlen=keep)
        self._lines: list[str] = []

    def write(self, time: str, node: str, callback: str) -> None:
        """Add one line. Called once for every step of a simulation."""
        self._lines.append(f"{time}|{node}|{callback}")
        if len(self._lines) >= _CHUNK:
            self._flush()

    def digest(self) -> str:
        """Equal for equal histories."""
        self._flush()
        return self._digest.hexdigest()

    def last_lines(self) -> tuple[str, ...]:
        """The end of the history."""
        self._flush()
        return tuple(self._last)

    def _flush(self) -> None:
        self._digest.update("".join(f"{line}\n" for line in self._lines).encode())
        self._last.extend(self._lines)
        self._lines.clear()
