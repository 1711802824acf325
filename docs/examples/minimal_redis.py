"""The same on Redis: start as many processes as you like. One of them executes each run.

TASK_MANAGER_REDIS_HOST=localhost uvicorn --app-dir docs/examples minimal_redis:app
"""

from fastapi import FastAPI

from fastapi_task_manager import TaskGroup, TaskManager

app = FastAPI()
manager = TaskManager(app)  # every field of Config comes from the environment: TASK_MANAGER_REDIS_HOST and so on
group = TaskGroup("Reports")
manager.add_task_group(group)


@group.add_task("*/5 * * * *")
async def cleanup() -> None:
    """Runs every five minutes, on one of the processes."""
    print("cleaned up")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
