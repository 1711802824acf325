"""Callbacks after runs, and the hooks of a process.

uvicorn --app-dir docs/examples callbacks:app
"""

from dataclasses import dataclass, field

from fastapi import FastAPI

from fastapi_task_manager import Callbacks, OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_memory import MemoryStore


@dataclass
class Pager:
    """Stands for a client of a service: opened once for the process."""

    messages: list[str] = field(default_factory=list)
    is_open: bool = True


async def open_pager() -> Pager:
    return Pager()


async def close_pager(pager: Pager) -> None:
    pager.is_open = False


async def page(context: RunContext, error: BaseException) -> None:
    """A run has failed for good."""
    context.state_of(Pager).messages.append(f"{context.task} failed after {context.attempt} attempts: {error}")


def praise(context: RunContext) -> None:
    """A synchronous callback is called in a thread."""
    context.state_of(Pager).messages.append(f"{context.task} succeeded")


app = FastAPI()
manager = TaskManager(
    app,
    OperationalConfig(),
    backend=MemoryStore().open,
    callbacks=Callbacks(on_failure=page),
    startup=open_pager,
    shutdown=close_pager,
)
group = TaskGroup("Invoices")
manager.add_task_group(group)


@group.add_task("0 6 * * *", max_retries=1, retry_backoff=0.05)
async def sync() -> None:
    """Fails for good at its second attempt. The manager's callback pages."""
    raise ConnectionError("the bank does not answer")


@group.add_task("0 7 * * *", callbacks=Callbacks(on_success=praise))
async def report(context: RunContext) -> str:
    """Reaches the state of its process."""
    return "open" if context.state_of(Pager).is_open else "closed"


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
