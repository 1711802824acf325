"""Which imports are stable: the reference, the docstrings of the packages and the examples agree."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import fastapi_task_manager
import task_manager_core
from task_manager_core.domain import errors, events
from task_manager_core.ports import Backend, Clock, Observer
from task_manager_core.testing.conformance.laws import PORTS
from tests.architecture.conftest import ROOT, SOURCES

STABLE = "The modules below this package are stable"
INTERNAL = "The modules below this package are internal"
PAGE = (ROOT / "docs/reference/index.md").read_text()
ROOTS = ("fastapi_task_manager", "task_manager_core", "task_manager_memory", "task_manager_redis")
# This page explains how the simulation itself is built, and says that its modules are internal.
INSIDE = ROOT / "docs/explanation/simulation.md"


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    _name(path.relative_to(source)): ast.get_docstring(ast.parse(path.read_text())) or ""
    for source in SOURCES
    for path in sorted(source.rglob("*.py"))
}
"""The docstring of every module of the wheel, by the name of the module."""


def _listed() -> set[str]:
    """The modules that the reference names: packages with names to import, and deeper paths."""
    names, _, rest = PAGE.partition("## Names to import")[2].partition("## Stable paths")
    paths, _, _ = rest.partition("\n## ")
    return {*re.findall(r"^- \*\*`([\w.]+)`\*\*", names, re.MULTILINE), *re.findall(r"`(\w+(?:\.\w+)+)`", paths)}


def _above(module: str) -> Iterator[str]:
    """The packages above a module, the nearest first."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _is_stable(module: str) -> bool:
    if module in _listed():
        return True
    said = next((MODULES[name] for name in _above(module) if {STABLE, INTERNAL} & _sentences(MODULES[name])), "")
    return STABLE in _sentences(said) and not _is_private(module)


def _sentences(docstring: str) -> set[str]:
    text = " ".join(docstring.split())
    return {sentence for sentence in (STABLE, INTERNAL) if sentence in text}


def _is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split("."))


def test_the_modules_are_found() -> None:
    assert {"task_manager_core", "task_manager_core.ports.codec", "task_manager_redis.backend"} <= MODULES.keys()
    assert {*ROOTS, "fastapi_task_manager.simulation", "task_manager_core.testing.conformance"} <= _listed()


def _is_covered(module: str) -> bool:
    """A listed path is stable. Every other module has a leading underscore, or its package says what it is."""
    packages = [module, *_above(module)]
    return module in _listed() or _is_private(module) or any(_sentences(MODULES[package]) for package in packages)


def test_every_module_is_stable_or_says_that_it_is_internal() -> None:
    assert [module for module in MODULES if not _is_covered(module)] == []


def test_every_stable_package_and_every_listed_path_is_the_same_in_code_and_reference() -> None:
    assert _listed() <= MODULES.keys()
    assert {module for module in MODULES if STABLE in _sentences(MODULES[module])} <= _listed()


def _code() -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / "docs").rglob("*.py")):
        yield path, path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            yield path, block


def _imported(code: str) -> set[str]:
    """The modules of this project that a block imports from. A block that is not whole Python imports nothing."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:
        return set()
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names = {
        f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    return {name for name in plain | names if name.split(".")[0] in ROOTS}


def test_the_examples_import_stable_modules_only() -> None:
    found = [(path, name) for path, code in _code() if path != INSIDE for name in _imported(code)]
    assert len(found) > 20
    assert [(path.relative_to(ROOT).as_posix(), name) for path, name in found if not _is_stable(name)] == []


def test_the_root_exports_every_error_and_event() -> None:
    tree = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.TaskManagerError) and kind.__module__ == errors.__name__
    }
    kinds = {kind.__name__ for kind in get_args(events.Event)}
    assert {*task_manager_core.__all__} == {*tree, *kinds, "Event", "TaskKey", "__version__"}
    assert {*tree, *kinds, "Event", "TaskKey"} <= {*fastapi_task_manager.__all__}


def _missing(port: type, name: str) -> list[str]:
    """The parts that the docstring of a verb lacks."""
    verb: Callable[..., object] = getattr(port, name)
    text = inspect.getdoc(verb) or ""
    signature = inspect.signature(verb)
    expected = [f"    {argument}: " for argument in list(signature.parameters)[1:]]
    if signature.return_annotation != "None":
        expected.append("Returns:")
    if inspect.iscoroutinefunction(verb):
        expected += ["Raises:", *(f"    {kind.__name__}: " for kind in errors.BackendError.__subclasses__())]
    return [f"{port.__name__}.{name}: {part.strip()}" for part in expected if part not in text]


def test_every_verb_of_a_port_says_what_it_takes_returns_and_raises() -> None:
    ports = [port for port in PORTS.values() if port is not Backend]
    verbs = [
        (port, name)
        for port in (*ports, Clock, Observer)
        for name in vars(port)
        if inspect.isfunction(vars(port)[name])
    ]
    public = [(port, name) for port, name in verbs if not name.startswith("_")]
    assert len(public) == 37
    assert [part for port, name in public for part in _missing(port, name)] == []
