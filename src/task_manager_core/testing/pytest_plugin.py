"""What pytest loads wherever this distribution is installed: nothing, unless the conformance suite is asked for.

pytest learns options only from plugins that it knows before it reads its command line. `--backend` would be in the way
of projects that have an option of this name, and the suite needs more than a project may have installed.
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
        # The store is looked for where the command is given, as `python -m` would do; `pytest` alone does not.
        sys.path.append(str(early_config.invocation_params.dir))
        early_config.pluginmanager.import_plugin(f"{SUITE}.plugin")
