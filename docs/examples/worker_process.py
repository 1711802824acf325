"""Tasks without a web server.

task-manager worker worker_process:manager --app-dir docs/examples
"""

import os

from fastapi_task_manager import Config, TaskGroup, TaskManager

config = Config(redis_host=os.environ.get("TASK_MANAGER_REDIS_HOST", "localhost"), redis_key_prefix="worker")
manager = TaskManager(config=config)
group = TaskGroup("Invoices")
manager.add_task_group(group)


@group.add_task("* * * * *")
async def sync() -> None:
    print("sync")


@group.add_task("0 3 * * *", queue="heavy")
def rebuild_the_search_index() -> None:
    print("rebuild")
