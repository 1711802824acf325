"""Scenarios that play at the same time, and the tests that judge what each has left behind.

Most of a scenario is waiting: for slots to fall due, for claims to expire. The scenarios of a module therefore play
together, in threads; a scenario that fails, fails the tests that ask for its outcome and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
Scene = Callable[[str], T]
"""Gets the URL of a shared server. Cleans up behind itself."""

AT_ONCE = 5


class Scenes:
    """Begins to play when entered. The first scenes begin first: put the longest there."""

    def __init__(self, redis_url: str, scenes: Sequence[Scene[Any]]) -> None:
        self._url = redis_url
        self._scenes = scenes
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scene")
        self._playing: dict[Scene[Any], Future[Any]] = {}

    def of(self, scene: Scene[T]) -> T:
        """What the scene has left behind; raises what it raised."""
        outcome: T = self._playing[scene].result()
        return outcome

    def __enter__(self) -> Self:
        self._playing = {scene: self._pool.submit(scene, self._url) for scene in self._scenes}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
