"""An application with E2E_TASKS tasks; none of them is due for months."""

from __future__ import annotations

import os

from fastapi_task_manager import TaskGroup
from tests.e2e.apps.parts import TASKS_VARIABLE, application

app, manager = application()
group = TaskGroup("Idle")


async def nothing() -> None: ...


for number in range(int(os.environ[TASKS_VARIABLE])):
    group.add_task("0 0 1 1 *", name=f"task-{number}", register=False)(nothing)
manager.add_task_group(group)
