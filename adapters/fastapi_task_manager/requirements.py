"""Imported before everything else: says which extra is missing, and not which of its modules."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("fastapi", "pydantic", "pydantic_settings", "dependency_injector")

for _name in NEEDED:
    # Looked for and not imported: dependency_injector takes its time, and only a manager that starts needs it.
    if find_spec(_name) is None:
        raise ImportError(
            f"fastapi_task_manager needs {_name}: pip install 'hexagonal-task-manager[fastapi]'", name=_name
        )
