"""Tasks that are added while the application runs, by code and over HTTP.

uvicorn --app-dir docs/examples dynamic_tasks:app
"""

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Reports", tags=["reports"])
manager.add_task_group(group)

sent: list[str] = []


@group.register_function()
async def send_report(recipient: str = "everybody") -> None:
    """Has no schedule of its own."""
    sent.append(recipient)


# Before the start and from synchronous code: created when the manager starts, or within a poll. Where the store holds a
# task of this name, that one stays, so a change of this line does not change it.
group.add_dynamic_task("send_report", "0 6 * * MON", {"recipient": "the board"}, name="board")


@app.post("/subscriptions/{recipient}")
async def subscribe(recipient: str, hour: int = 7) -> None:
    """From a coroutine: returns when every process can learn of the task."""
    await manager.add_dynamic_task(
        "Reports", "send_report", f"0 {hour} * * *", {"recipient": recipient}, name=f"to {recipient}"
    )


@app.put("/subscriptions/{recipient}")
async def postpone(recipient: str, hour: int) -> None:
    """Pause and history stay, and nothing fires at once."""
    await manager.change_dynamic_task("Reports", f"to {recipient}", cron_expression=f"0 {hour} * * *")


@app.delete("/subscriptions/{recipient}")
async def unsubscribe(recipient: str) -> None:
    """The task is removed with its state and its live runs."""
    await manager.remove_dynamic_task("Reports", f"to {recipient}")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
