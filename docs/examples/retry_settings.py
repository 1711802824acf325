"""A run that fails is executed again, after a delay that grows with each failure.

uvicorn --app-dir docs/examples retry_settings:app
"""

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
# The defaults wait 1, 2, 4, 8, 16, 32, 60, 60, … seconds, and give up after 50 retries. Here a run has 10 retries.
config = OperationalConfig(retry_backoff=1, retry_backoff_max=60, retry_backoff_multiplier=2, max_retries=10)
manager = TaskManager(app, config, backend=MemoryStore().open)
group = TaskGroup("Payments")
manager.add_task_group(group)

delivered: list[str] = []


@group.add_task("*/2 * * * * *", retry_backoff=0.05, retry_backoff_max=0.2, max_retries=5)
async def deliver(context: RunContext) -> None:
    """Fails twice. All attempts of a run share its id, so the bank can distinguish a repetition from a new payment."""
    if context.attempt < 3:
        raise ConnectionError("the bank does not answer")
    delivered.append(context.run_id)


@group.add_task("0 3 * * *", no_retry_on=[ValueError], timeout=30)
async def settle() -> None:
    """A ValueError ends the run without a retry. An attempt that takes longer than 30 s counts as failed."""


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
