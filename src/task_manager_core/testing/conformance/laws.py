"""The laws as data, read from the docstrings of the ports. Each sentence is written only there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from task_manager_core.ports import (
    Backend,
    Catalogue,
    Dispatch,
    History,
    Leadership,
    Membership,
    Notifier,
    RunQueue,
)

PORTS: dict[str, type] = {
    "leadership": Leadership,
    "catalogue": Catalogue,
    "dispatch": Dispatch,
    "run_queue": RunQueue,
    "history": History,
    "membership": Membership,
    "notifier": Notifier,
    "backend": Backend,
}
"""The ports with numbered laws, each under the name of its file."""

_TEST = TypeVar("_TEST", bound=Callable[..., object])
_MARK = "__law__"
_NUMBERED = re.compile(r"^(\d+)\. ", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Law:
    """One numbered sentence of a port."""

    port: str
    number: int
    sentence: str


def laws_of(port: str) -> tuple[Law, ...]:
    """The numbered laws of a port, in order, each on one line."""
    _, *parts = _NUMBERED.split(inspect.getdoc(PORTS[port]) or "")
    numbers, sentences = parts[::2], parts[1::2]
    return tuple(
        Law(port, int(number), one_line(sentence)) for number, sentence in zip(numbers, sentences, strict=True)
    )


def one_line(text: str) -> str:
    return " ".join(text.split())


def law(port: str, number: int) -> Callable[[_TEST], _TEST]:
    """Mark a test as a judge of this law. A law holds if all tests that judge it pass.

    The mark is an attribute and no pytest marker: a project with strict markers would have to declare the marker.
    """

    def mark(test: _TEST) -> _TEST:
        setattr(test, _MARK, (port, number))
        return test

    return mark


def judged_by(test: object) -> Law | None:
    """The law that a test judges; None if the function is no test of the suite."""
    found: tuple[str, int] | None = getattr(test, _MARK, None)
    if found is None:
        return None
    port, number = found
    return next(law for law in laws_of(port) if law.number == number)
