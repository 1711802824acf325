"""Every law has one sentence and one test, with the same words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from task_manager_core.testing.conformance import BackendContract
from task_manager_core.testing.conformance.laws import PORTS, Law, judged_by, laws_of, one_line

LAWS = [law for port in PORTS for law in laws_of(port)]


def judges() -> Iterator[Callable[..., object]]:
    for name, member in inspect.getmembers(BackendContract, inspect.isfunction):
        if name.startswith("test_"):
            yield member


def test_the_laws_are_found() -> None:
    for port in PORTS:
        numbers = [law.number for law in laws_of(port)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 1
    assert laws_of("dispatch")[8].sentence == "A pause does not end by itself."
    assert laws_of("dispatch")[9].sentence.endswith("resuming an active task does nothing.")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.port}-{law.number}")
def test_every_law_has_one_test_with_the_same_words(law: Law) -> None:
    found = [test for test in judges() if one_line(test.__doc__ or "") == law.sentence]
    assert len(found) == 1, [test.__qualname__ for test in found]
    [test] = found
    assert judged_by(test) == law
    assert test.__module__.startswith(f"task_manager_core.testing.conformance.{law.port}")


def test_no_other_test_has_a_docstring() -> None:
    """A docstring would be a law in other words."""
    sentences = {law.sentence for law in LAWS}
    assert [test.__qualname__ for test in judges() if one_line(test.__doc__ or "") not in {"", *sentences}] == []


def test_no_test_hides_another() -> None:
    """One subclass inherits from all files, and would have only one of two tests of one name."""
    parts = [part for part in BackendContract.__mro__ if part.__module__.startswith("task_manager_core.testing")]
    names = [name for part in parts for name in vars(part) if name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("port", PORTS)
def test_a_law_is_judged_in_the_file_of_its_port(port: str) -> None:
    import_module(f"task_manager_core.testing.conformance.{port}")
    for test in judges():
        law = judged_by(test)
        if law is not None and law.port == port:
            file = test.__module__.rpartition(".")[2]
            assert file.startswith(("races", port)), test.__qualname__


def test_every_test_judges_a_law() -> None:
    """If a test judged no law, a store could fail it and still show no ✗."""
    assert [test.__qualname__ for test in judges() if judged_by(test) is None] == []
