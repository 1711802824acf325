"""Runs the suite in this process without pytest, and finds the tests that a store fails."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import pytest

from task_manager_core.testing.conformance import BackendContract
from task_manager_core.testing.conformance.laws import Law, judged_by
from task_manager_core.testing.conformance.store import Store
from tests.testing.broken.making import OpenHarness


@dataclass(frozen=True, slots=True)
class Judgement:
    """One test of the suite with its arguments."""

    test: str
    law: Law
    ask: Callable[[Store], Awaitable[None]]


def judgements(test: str | None = None) -> Iterator[Judgement]:
    """All tests of the suite, or one, with each of their arguments."""
    suite = BackendContract()
    for name, function in inspect.getmembers(BackendContract, inspect.isfunction):
        if not name.startswith("test_") or (test is not None and name != test):
            continue
        law = judged_by(function)
        assert law is not None, name
        for arguments in _arguments(function):
            yield Judgement(name, law, partial(function, suite, **arguments))


def _arguments(function: object) -> Iterator[dict[str, object]]:
    """The arguments of a test besides the store, in every combination."""
    marks: list[pytest.Mark] = getattr(function, "pytestmark", [])
    axes: list[list[dict[str, object]]] = []
    for mark in marks:
        if mark.name == "parametrize":
            asked, values = mark.args
            names = [asked] if isinstance(asked, str) else list(asked)
            axes.append([dict(zip(names, [one] if isinstance(asked, str) else one, strict=True)) for one in values])
    for chosen in product(*axes):
        yield {name: value for part in chosen for name, value in part.items()}


async def failures(open_harness: OpenHarness, test: str) -> list[Exception]:
    """The failures of a test on a store, with each of its arguments."""
    found: list[Exception] = []
    for judgement in judgements(test):
        async with open_harness() as harness:
            try:
                await judgement.ask(Store(harness))
            except pytest.skip.Exception:
                continue
            except Exception as error:  # noqa: BLE001 - a broken store fails in its own way
                found.append(error)
    return found
