"""What pytest loads wherever this distribution is installed: nothing, unless the conformance suite is asked for.

pytest learns options only from plugins that it knows before it reads its command line. `--backend` would be in the way
of projects that have an option of this name, and the suite needs more than a project may have installed.
"""

from __future__ import annotations

import pytest

SUITE = "task_manager_core.testing.conformance"


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Let `pytest --pyargs task_manager_core.testing.conformance` know the options of the suite."""
    if any(argument.partition("::")[0] == SUITE for argument in args):
        early_config.pluginmanager.import_plugin(f"{SUITE}.plugin")
