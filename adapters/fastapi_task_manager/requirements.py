"""The package imports this module first. If a requirement is missing, its error names the extra to install."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("fastapi", "pydantic", "pydantic_settings", "dependency_injector")

for _name in NEEDED:
    # Find the module without an import: dependency_injector loads slowly, and only a manager that starts needs it.
    if find_spec(_name) is None:
        raise ImportError(
            f"fastapi_task_manager needs {_name}: pip install 'hexagonal-task-manager[fastapi]'", name=_name
        )
