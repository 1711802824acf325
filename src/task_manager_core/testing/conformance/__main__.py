"""`python -m task_manager_core.testing.conformance MODULE:NAME [options of pytest]`."""

from __future__ import annotations

import os
import sys

SUITE = "task_manager_core.testing.conformance"

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: python -m {SUITE} MODULE:NAME [options of pytest]")
    # Said for versions of pytest-asyncio that warn when nobody says it.
    scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
    judge = ["-p", f"{SUITE}.plugin", "--pyargs", SUITE, f"--backend={sys.argv[1]}"]
    # A new interpreter: this one has imported the suite, and pytest warns of what it can no longer rewrite.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *scope, *judge, *sys.argv[2:]])  # noqa: S606 - no shell
