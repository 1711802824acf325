"""`python -m task_manager_core.testing.conformance MODULE:NAME [options of pytest]`."""

from __future__ import annotations

import os
import sys

SUITE = "task_manager_core.testing.conformance"

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: python -m {SUITE} MODULE:NAME [options of pytest]")
    # Some versions of pytest-asyncio warn if this option is not set.
    scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
    judge = ["-p", f"{SUITE}.plugin", "--pyargs", SUITE, f"--backend={sys.argv[1]}"]
    # A new interpreter: this one has imported the suite already, and pytest warns that it cannot rewrite it any more.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *scope, *judge, *sys.argv[2:]])  # noqa: S606 - no shell
