"""The duties of a process as members of the text of its presence. Stores use `codec`."""

from __future__ import annotations

from task_manager_core.domain.duties import ALL_DUTIES, ALL_ROLES, Duties, Role
from task_manager_core.ports.reader import Reader
from task_manager_core.ports.writer import Json


def duties_members(duties: Duties) -> dict[str, Json]:
    """The members of a process that does not have all duties."""
    if duties == ALL_DUTIES:
        return {}
    queues = None if duties.queues is None else sorted(duties.queues)
    return {"roles": sorted(role.value for role in duties.roles), "queues": queues}


def read_duties(reader: Reader) -> Duties:
    """A role that this release does not know is left out."""
    known = {role.value: role for role in Role}
    names = reader.texts("roles") if reader.has("roles") else tuple(role.value for role in ALL_ROLES)
    queues = reader.texts("queues") if reader.has("queues") else None
    return Duties(
        roles=frozenset(known[name] for name in names if name in known),
        queues=None if queues is None else frozenset(queues),
    )
