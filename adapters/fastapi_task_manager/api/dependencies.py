"""The parameters with which requests select tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError

from fastapi_task_manager.api.cursors import cursor_of, link_to_next, place_of
from fastapi_task_manager.api.requests import TrackedParams
from task_manager_core.application.control import Selection
from task_manager_core.application.overviews import Order, PageQuery, Place
from task_manager_core.domain.errors import DefinitionError, TaskNotFound
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.standing import Standing

PAGE_LIMIT = 100

_GROUP = Query(description="Only tasks of this group")
_NAME = Query(description="Only tasks of this name")
_TAG = Query(description="Only tasks that carry this tag")


async def filters(
    task_group_name: Annotated[str | None, _GROUP] = None,
    name: Annotated[str | None, _NAME] = None,
    tag: Annotated[str | None, _TAG] = None,
) -> Selection:
    """Filters of a reading route; they combine."""
    return Selection(group=task_group_name, name=name, tag=tag)


async def action_filters(
    task_group_name: Annotated[str | None, _GROUP] = None,
    task_name: Annotated[str | None, _NAME] = None,
    tag: Annotated[str | None, _TAG] = None,
) -> Selection:
    """Filters of an action; they combine."""
    return Selection(group=task_group_name, name=task_name, tag=tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPage:
    """The parameters of a page of tasks."""

    limit: int | None
    cursor: str | None
    state: str | None
    text: str | None
    sort: str | None
    include: str | None

    @property
    def given(self) -> bool:
        return any(value is not None for value in (*self._parameters().values(), self.cursor))

    def query(self) -> PageQuery:
        """Errors: InvalidPolicy."""
        order = self._order
        return PageQuery(
            limit=PAGE_LIMIT if self.limit is None else self.limit,
            after=None if self.cursor is None else place_of(order, self.cursor),
            standing=None if self.state is None else Standing(self.state),
            text=self.text or "",
            order=order,
        )

    def link(self, selection: Selection, following: Place) -> str:
        filters = {"task_group_name": selection.group, "name": selection.name, "tag": selection.tag}
        return link_to_next({**filters, **self._parameters()}, cursor_of(self._order, following))

    @property
    def _order(self) -> Order:
        return Order.NAME if self.sort is None else Order(self.sort)

    def _parameters(self) -> dict[str, str | int | None]:
        return {
            "state": self.state,
            "text": self.text,
            "sort": self.sort,
            "include": self.include,
            "limit": self.limit,
        }


async def asked_page(
    state: Annotated[
        Literal["failing", "late", "paused", "running", "waiting"] | None,
        Query(description="Only tasks that stand like this"),
    ] = None,
    text: Annotated[
        str | None,
        Query(description="Only tasks with these words in group, name, description, function or tags"),
    ] = None,
    sort: Annotated[
        Literal["name", "next_run", "last_run"] | None,
        Query(description="The order; not by name for at most 1,000 tasks that match. Default: name"),
    ] = None,
    include: Annotated[Literal["recent"] | None, Query(description="recent: with the newest 40 attempts")] = None,
    limit: Annotated[int | None, Query(description="Most tasks of the page, 1 to 500. Default: 100")] = None,
    cursor: Annotated[str | None, Query(description="Of the `Link` header of the page before")] = None,
) -> AskedPage:
    """A page of tasks."""
    return AskedPage(limit=limit, cursor=cursor, state=state, text=text, sort=sort, include=include)


def given(selection: Selection) -> dict[str, str | None]:
    """The filters of an action, by the names of their parameters."""
    return {"task_group_name": selection.group, "task_name": selection.name, "tag": selection.tag}


async def only_known_parameters(request: Request) -> None:
    """Refuse an unknown filter, and a filter that is given twice: the action would affect tasks that it should leave
    out.

    FastAPI would take the last of two values. A parameter of the application may be a list.

    A parameter is known if the route reads it, or if a dependency has read it. The dependencies of the application, of
    outer routers, of `include_router` and of `get_manager_router` run before this one.
    """
    asked = request.query_params
    assert isinstance(asked, TrackedParams)
    own = set(_parameters_of_the_route(request.scope["route"].dependant))
    known = asked.asked | own
    unknown = f"Unknown parameter; this route has {', '.join(sorted(known)) or 'none'}"
    problems = {
        name: ("extra_forbidden", unknown) if name not in known else ("too_many", "Given more than once")
        for name in asked
        if name not in known or (name in own and len(asked.getlist(name)) > 1)
    }
    if problems:
        raise RequestValidationError(
            [{"type": kind, "loc": ("query", name), "msg": message} for name, (kind, message) in problems.items()]
        )


def _parameters_of_the_route(dependant: Dependant) -> Iterator[str]:
    """The query parameters of the endpoint and of our own dependencies."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        if inner.call in _OURS:
            yield from _parameters_of_the_route(inner)


async def key_in_path(
    request: Request,
    task_group_name: Annotated[str, Path(description="Group of the task")],
    task_name: Annotated[str, Path(description="Name of the task inside its group")],
) -> TaskKey:
    """The task of a path. Names may contain any character, encoded. Errors: TaskNotFound for an impossible name."""
    group, name = _encoded_names(request, f"{task_group_name}/{task_name}") or (task_group_name, task_name)
    return possible_key(group, name)


def possible_key(group: str, name: str) -> TaskKey:
    """The key, or TaskNotFound for names that no task can have."""
    try:
        return TaskKey(group, name)
    except DefinitionError:
        raise TaskNotFound(group[:200], name[:200]) from None


def _encoded_names(request: Request, joined: str) -> tuple[str, str] | None:
    """Group and name as the client sent them: routing decodes `%2F` to a slash and may split the names elsewhere."""
    raw_path = request.scope.get("raw_path")
    if not isinstance(raw_path, bytes) or b"%2" not in raw_path:
        return None
    parts = [unquote_to_bytes(part).decode("utf-8", "replace") for part in raw_path.split(b"/")]
    pairs = [(group, name) for group, name in pairwise(parts) if f"{group}/{name}" == joined]
    return pairs[-1] if pairs else None


_OURS = (filters, action_filters, asked_page, key_in_path)

Filters = Annotated[Selection, Depends(filters)]
ActionFilters = Annotated[Selection, Depends(action_filters)]
PageAsked = Annotated[AskedPage, Depends(asked_page)]
OnlyKnownParameters = Depends(only_known_parameters)
KeyInPath = Annotated[TaskKey, Depends(key_in_path)]
