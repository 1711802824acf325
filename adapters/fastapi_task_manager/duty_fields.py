"""The fields of the configuration about the duties of a process. In the environment their values are texts with
commas."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard

from pydantic import BeforeValidator

from task_manager_core.domain.duties import ALL_ROLES, Duties, Role

RoleName = Literal["schedule", "execute"]


def _names(value: Any) -> Any:
    """The names in a text or a collection, without repetitions."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if not _is_collection(value):
        return value
    names: list[Any] = [name.value if isinstance(name, Role) else name for name in value]
    return [name for index, name in enumerate(names) if name not in names[:index]]


def _is_collection(value: object) -> TypeGuard[Collection[object]]:
    return isinstance(value, (list, tuple, set, frozenset))


def _role_names(value: Any) -> Any:
    return [] if value == "none" else _names(value)


def _queue_names(value: Any) -> Any:
    return None if value == "all" else _names(value)


Roles: TypeAlias = Annotated[list[RoleName] | None, BeforeValidator(_role_names)]
Queues: TypeAlias = Annotated[list[str] | None, BeforeValidator(_queue_names)]


def duties_of(roles: Sequence[RoleName] | None, queues: Sequence[str] | None) -> Duties:
    """The duties that these values describe. Errors: InvalidPolicy."""
    return Duties(
        roles=ALL_ROLES if roles is None else frozenset(map(Role, roles)),
        queues=None if queues is None else frozenset(queues),
    )
