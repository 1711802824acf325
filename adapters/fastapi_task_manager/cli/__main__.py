"""`python -m fastapi_task_manager.cli` is the command `task-manager`."""

from __future__ import annotations

import sys

from fastapi_task_manager.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
