"""Runs the scenarios of a module at the same time. The tests of the module judge their outcomes.

A scenario mostly waits: for slots that fall due, for claims that expire. So the scenarios of a module run together, in
threads. A scenario that fails makes only the tests fail that ask for its outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
Scenario = Callable[[str], T]
"""A function that gets the URL of a shared server and answers an outcome. It cleans up after itself."""

AT_ONCE = 5


class Scenarios:
    """Starts the scenarios when it is entered. It starts them in order, so the longest should come first."""

    def __init__(self, redis_url: str, scenarios: Sequence[Scenario[Any]]) -> None:
        self._url = redis_url
        self._scenes = scenarios
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scenario")
        self._running: dict[Scenario[Any], Future[Any]] = {}

    def of(self, scenario: Scenario[T]) -> T:
        """The outcome of a scenario. If the scenario raised an error, this raises it."""
        outcome: T = self._running[scenario].result()
        return outcome

    def __enter__(self) -> Self:
        self._running = {scenario: self._pool.submit(scenario, self._url) for scenario in self._scenes}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
