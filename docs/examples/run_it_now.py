"""Ask for a run from code, and wait for it.

uvicorn --app-dir docs/examples run_it_now:app
"""

from datetime import timedelta

from fastapi import FastAPI, HTTPException

from fastapi_task_manager import OperationalConfig, RunContext, RunFailed, RunNotFound, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Invoices")
manager.add_task_group(group)

sent: list[str] = []


@group.add_task(no_retry_on=LookupError)
async def send_invoice(context: RunContext, number: int, copies: int = 1) -> None:
    """Without an expression a task has no schedule: it runs when code or a request triggers it."""
    if number == 13:
        raise LookupError("there is no invoice 13")
    sent.append(f"invoice {number}, copies: {copies}, in run {context.run_id}")


@group.add_task("0 6 * * *")
async def close_the_day() -> None:
    """A task with a schedule can be triggered, too."""


@app.post("/invoices/{number}")
async def send(number: int) -> str:
    """Answers at once. Any process may execute the run."""
    run = await manager.trigger(send_invoice, number, copies=2)
    return run.run_id


@app.get("/runs/{run_id}")
async def state(run_id: str) -> str:
    """A later request finds the run by its id."""
    try:
        return (await manager.run_handle(send_invoice, run_id).status()).value
    except RunNotFound as error:
        raise HTTPException(404) from error


@app.post("/orders/{order}")
async def pay(order: int) -> str:
    """A repeated request sends no second invoice."""
    once = manager.with_options(idempotency_key=f"order {order}", priority="high", expires=timedelta(hours=1))
    run = await once.trigger(send_invoice, number=order)
    try:
        await run.result(timeout=10)
    except RunFailed as error:
        raise HTTPException(409, error.message) from error
    return run.run_id


@app.post("/close")
def close() -> str:
    """A synchronous endpoint blocks its thread, and not the event loop."""
    run = manager.trigger_sync(close_the_day)
    return run.wait(timeout=10).value


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
