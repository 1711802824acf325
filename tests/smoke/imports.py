"""Runs in a clean environment: the version is the expected one, and every module of every root can be imported."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "hexagonal-task-manager"
ROOTS = ("task_manager_core", "task_manager_memory", "task_manager_redis", "fastapi_task_manager")
# These two modules cannot be imported: the first starts pytest, the second needs the option --backend.
PROGRAMS = {
    "task_manager_core.testing.conformance.__main__",
    "task_manager_core.testing.conformance.test_backend",
}


def main() -> None:
    """Import every module, and refuse a module outside of this environment: it would not be the installed one."""
    [expected] = sys.argv[1:]
    versions = {metadata.version(DISTRIBUTION)}
    names = [name for root in ROOTS for name in (root, *_below(root))]
    for name in names:
        file = importlib.import_module(name).__file__
        assert file is not None, name
        assert Path(file).is_relative_to(sys.prefix), file
    for root in ("task_manager_core", "fastapi_task_manager"):
        versions.add(sys.modules[root].__version__)
    assert versions == {expected}, versions
    print(f"{len(names)} modules imported")


def _below(root: str) -> list[str]:
    path = importlib.import_module(root).__path__
    return [found.name for found in pkgutil.walk_packages(path, f"{root}.") if found.name not in PROGRAMS]


if __name__ == "__main__":
    main()
