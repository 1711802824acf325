"""The last moments of a simulation, as lines. A violation is printed with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeGuard

from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import Agenda, SlotDecision
from task_manager_core.domain.run import Claim, Run, Settlement
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import DefinitionWrite


class Timeline:
    """Keeps the last moments, and formats them only when they are asked for."""

    def __init__(self, keep: int = 200) -> None:
        self._moments: deque[tuple[float, str, object]] = deque(maxlen=keep)

    def add(self, time: float, node: str, what: object) -> None:
        self._moments.append((time, node, what))

    def lines(self, last: int | None = None) -> tuple[str, ...]:
        """Oldest first: `   12.005  w0      Decided …`."""
        moments = list(self._moments)
        chosen = moments if last is None else moments[-last:]
        return tuple(f"{time:9.3f}  {node:<8}{_text(what)}" for time, node, what in chosen)


def _text(what: object) -> str:
    if isinstance(what, str):
        return what
    text = _value(what)
    return text if len(text) <= 240 else f"{text[:240]}…"


def _value(value: object) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each kind of value
    match value:
        case datetime():
            return value.strftime("%H:%M:%S.%f")[:-3]
        case timedelta():
            return f"{value.total_seconds():g}s"
        case Enum():
            return str(value.value)
        case TaskDefinition():
            return f"{value.key} ({value.schedule.expression})"
        case TaskKey() | NodeId() | FunctionKey():
            return str(value)
        case RunId():
            return value.value[:8]
        case Term():
            return f"term {value.token} of {value.holder}"
        case Run():
            return f"{value.task}@{'request' if value.slot is None else _value(value.slot)}"
        case Claim():
            return f"{_value(value.run)} attempt {value.attempt} token {value.token} of {value.worker}"
        case Settlement():
            return f"{_value(value.claim)}: {_value(value.outcome)}"
        case SlotDecision():
            return _decision(value)
        case Agenda():
            return f"{len(value.due)} due" + (f": {', '.join(str(due.key) for due in value.due)}" if value.due else "")
        case DefinitionWrite():
            return f"{value.definition.key} expecting {value.expected}, next {_value(value.next_slot)}"
        case _:
            return _record(value)


def _decision(decision: SlotDecision) -> str:
    parts = [f"{decision.key} from {_value(decision.slot)}"]
    parts += [f"dispatch {_value(run.slot)}" for run in decision.dispatch]
    parts += [f"hold {_value(decision.hold.slot)}"] if decision.hold is not None else []
    parts += [f"skip {skip.count} as {skip.reason.value}" for skip in decision.skipped]
    parts += [f"next {_value(decision.next_slot.slot)}" if decision.next_slot is not None else "no next"]
    return ", ".join(parts)


def _record(value: object) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(_value(getattr(value, one.name)) for one in fields(value))
        return f"{type(value).__name__}({inner})"
    if _is_set(value):
        return "{" + ", ".join(sorted(_value(one) for one in value)) + "}"
    if _is_list(value):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return repr(value)


def _is_set(value: object) -> TypeGuard[AbstractSet[object]]:
    return isinstance(value, AbstractSet)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (tuple, list))
