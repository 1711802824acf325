"""The text form of a presence (`ports.codec`)."""

from __future__ import annotations

from collections.abc import Sequence

from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.observation import Presence
from task_manager_core.ports.duties_text import duties_members, read_duties
from task_manager_core.ports.reader import VERSION, Reader, is_list, milliseconds
from task_manager_core.ports.writer import to_json


def encode_presence(presence: Presence) -> str:
    """The text of a presence. A process with all duties writes none: the text is the same as before there were any."""
    return to_json(
        {
            "v": VERSION,
            "node": presence.node.value,
            "service": presence.service,
            "started_at": milliseconds(presence.started_at),
            "tasks": sorted([key.group, key.name] for key in presence.tasks),
            "functions": sorted([key.group, key.name] for key in presence.functions),
            **({"overran": sorted(run.value for run in presence.overran)} if presence.overran else {}),
            **duties_members(presence.duties),
        }
    )


def decode_presence(text: str) -> Presence:
    """The presence in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a presence", text)
    try:
        return Presence(
            node=NodeId(reader.text("node")),
            service=reader.text("service"),
            started_at=reader.instant("started_at"),
            tasks=frozenset(TaskKey(group, name) for group, name in _pairs(reader.items("tasks"))),
            functions=frozenset(FunctionKey(group, name) for group, name in _pairs(reader.items("functions"))),
            overran=frozenset(map(RunId, reader.texts("overran") if reader.has("overran") else ())),
            duties=read_duties(reader),
        )
    except DefinitionError as error:
        raise BackendCorrupt("a presence", str(error)) from error


def _pairs(items: Sequence[object]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for item in items:
        match item[:2] if is_list(item) else ():
            case [str(group), str(name)]:
                pairs.append((group, name))
            case _:
                raise BackendCorrupt("a presence", f"{item!r} is not a pair of names")
    return pairs
