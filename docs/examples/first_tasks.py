"""The application of the tutorial.

uvicorn --app-dir docs/examples first_tasks:app
"""

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
greetings = TaskGroup("Greetings", tags=["tutorial"])
manager.add_task_group(greetings)


@greetings.add_task("*/5 * * * * *")
async def hello(name: str = "world") -> None:
    """Says hello every five seconds."""
    print(f"hello, {name}")


@greetings.add_task("0 8 * * *", max_retries=5)
async def letter(context: RunContext) -> None:
    """Fails twice and arrives with the third attempt."""
    if context.attempt < 3:
        raise ConnectionError(f"lost on the way, attempt {context.attempt}")
    print("the letter has arrived")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
