"""Identities: a value object for each kind, with one text form.

Users choose the names. A name may contain any separator, so an adapter encodes the parts of an identity and never
splits a joined text.

There are two rules. A new definition has names whose characters are all visible (`check_name`). A stored identity may
have a name that an older version accepted (`check_identity`): it stays readable, and can be found, changed and removed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from unicodedata import category

from task_manager_core.domain.errors import DefinitionError

LONGEST_NAME = 200


_IN_NO_IDENTITY = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, lone surrogates, and the two line breaks that are neither."""

_IN_NO_NAME = _IN_NO_IDENTITY | {"Cf"}
"""Format characters too: they have no width, join characters, or change the direction of the text after them."""

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and a symbol that are invisible: fillers, and the empty pattern of Braille."""


def check_name(field: str, value: object) -> str:
    """Return the name of a new definition, or raise DefinitionError.

    A name has 1 to 200 characters and no spaces at its ends. Each character is visible.
    """
    name = check_identity(field, value)
    if name != name.strip():
        raise DefinitionError(field, value, "a name has no spaces at its ends")
    if not name.isascii() and any(category(one) in _IN_NO_NAME or one in _BLANK for one in name):
        raise DefinitionError(field, value, "a name has no format characters, and none that show nothing")
    return name


def check_identity(field: str, value: object) -> str:
    """The same for a stored name: text of 1 to 200 characters, none of them a control character."""
    if not isinstance(value, str):
        raise DefinitionError(field, value, "a name is text")
    if not value or len(value) > LONGEST_NAME:
        raise DefinitionError(field, value, f"a name has 1 to {LONGEST_NAME} characters")
    if not value.isprintable() and any(category(character) in _IN_NO_IDENTITY for character in value):
        raise DefinitionError(field, value, "a name has no control characters and is valid unicode")
    return str.__str__(value)  # str() of a member of a str enumeration gives its qualified name


@dataclass(frozen=True, slots=True, order=True)
class TaskKey:
    """The identity of a task: its group and its name inside the group."""

    group: str
    name: str

    def __post_init__(self) -> None:
        check_identity("group", self.group)
        check_identity("name", self.name)

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class FunctionKey:
    """The identity of a function that tasks of a group may call."""

    group: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """One process from its start to its end. Every start gets a new id, so an id never names two processes."""

    value: str

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """The identity of one promised execution, and the idempotency key given to the task."""

    value: str

    def __str__(self) -> str:
        return self.value

    @classmethod
    def of_slot(cls, task: TaskKey, slot: datetime) -> RunId:
        """The run of a slot. A pure function, so that two leaders name the same run."""
        return cls(_digest("slot", task, slot.astimezone(UTC).isoformat()))

    @classmethod
    def of_request(cls, task: TaskKey, request: str) -> RunId:
        """The run of a trigger. The same request id is the same run."""
        return cls(_digest("request", task, request))


def fingerprint(asked: str | None) -> str:
    """A digest that tells two requests apart; empty without a text. It guards against mistakes, not against attacks."""
    return "" if asked is None else hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _digest(kind: str, task: TaskKey, what: str) -> str:
    parts = (kind, task.group, task.name, what)
    text = "".join(f"{len(part)}:{part}" for part in parts)
    # A request id comes from outside and may hold anything that Python calls text.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
