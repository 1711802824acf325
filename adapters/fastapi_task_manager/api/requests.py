"""A request as the routes of this router read it: its body is bounded, and it records which parameters were read."""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from typing import Any

from fastapi import Request
from starlette.datastructures import QueryParams

from fastapi_task_manager.api.bodies import bounded_body


class ManagedRequest(Request):
    """Records which query parameters were read, so that unknown ones can be refused. FastAPI knows the parameters of
    the route as the router declares it. It does not know those of overridden dependencies, of the application, or of an
    outer router."""

    def __init__(self, request: Request, longest_body: int) -> None:
        super().__init__(request.scope, bounded_body(request, longest_body))
        self._asked: TrackedParams | None = None

    @property
    def query_params(self) -> TrackedParams:
        if self._asked is None:
            self._asked = TrackedParams(self.scope["query_string"])
        return self._asked


class TrackedParams(QueryParams):
    """Query parameters that record the names that were read, found or not.

    A loop over all of them reads none: FastAPI passes each parameter to a model, which may ignore it.
    """

    def __init__(self, query_string: bytes) -> None:
        self.asked: set[str] = set()
        super().__init__(query_string)

    def __getitem__(self, key: str) -> str:
        self._ask(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._ask(key)
        return super().__contains__(key)

    def getlist(self, key: Any) -> list[str]:
        self._ask(key)
        return super().getlist(key)

    def keys(self) -> KeysView[str]:
        return dict.fromkeys(map(_IteratedName, super().keys()), "").keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def _ask(self, key: object) -> None:
        if isinstance(key, str) and not isinstance(key, _IteratedName):
            self.asked.add(key)


class _IteratedName(str):
    """A name that comes from a loop over the parameters: reading it does not count."""

    __slots__ = ()
