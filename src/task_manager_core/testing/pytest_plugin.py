"""Loaded by pytest wherever this distribution is installed. It does nothing unless the conformance suite is run.

pytest learns options only from plugins that are loaded before it reads its command line. If this plugin always loaded
the suite, `--backend` could collide with an option of the project, and the extra `testing` would have to be installed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SUITE = "task_manager_core.testing.conformance"


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Let `pytest --pyargs task_manager_core.testing.conformance` know the options of the suite."""
    if any(argument.partition("::")[0] == SUITE for argument in args):
        # The factory of the store is imported from the current directory, as `python -m` does; `pytest` alone does not.
        sys.path.append(str(early_config.invocation_params.dir))
        early_config.pluginmanager.import_plugin(f"{SUITE}.plugin")
