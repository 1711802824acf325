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
async def send_report(recipient: str = "all members") -> None:
    """Has no schedule of its own."""
    sent.append(recipient)


# The manager creates this task when it starts. A call while the manager runs creates its task within a poll. If the
# store already holds a task of this name, that task stays: a change of this line does not change it.
group.add_dynamic_task("send_report", "0 6 * * MON", {"recipient": "the board"}, name="board")


@app.post("/subscriptions/{recipient}")
async def subscribe(recipient: str, hour: int = 7) -> None:
    """Returns when the task is in the store, so that every process can read it."""
    await manager.add_dynamic_task(
        "Reports", "send_report", f"0 {hour} * * *", {"recipient": recipient}, name=f"to {recipient}"
    )


@app.put("/subscriptions/{recipient}")
async def postpone(recipient: str, hour: int) -> None:
    """The change keeps pause and history, and starts no run."""
    await manager.change_dynamic_task("Reports", f"to {recipient}", cron_expression=f"0 {hour} * * *")


@app.delete("/subscriptions/{recipient}")
async def unsubscribe(recipient: str) -> None:
    """The removal deletes the task with its state and its live runs."""
    await manager.remove_dynamic_task("Reports", f"to {recipient}")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
