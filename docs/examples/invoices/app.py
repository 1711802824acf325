"""The application: its endpoints ask for runs, wait for them, cancel them, and plan reminders.

uvicorn --app-dir docs/examples invoices.app:app
"""

from contextlib import suppress
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Header, Query
from pydantic import AwareDatetime, BaseModel

from fastapi_task_manager import Progress, RunHandle, RunState, TaskManagerError, error_response
from invoices import logs
from invoices.database import Session
from invoices.tasks import Imported, Report, manager

logs.configure()

app = FastAPI(title="Invoices")
manager.append_to_app_lifecycle(app)
app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
app.add_exception_handler(TaskManagerError, error_response)

IMPORT = ("Invoices", "import_orders")


# -- imports ----------------------------------------------------------------------------------------------------------


class Run(BaseModel):
    run_id: str
    state: RunState
    progress: Progress | None


async def shown(run: RunHandle) -> Run:
    return Run(run_id=run.run_id, state=await run.status(), progress=await run.progress())


@app.post("/imports", status_code=202)
async def start_import(idempotency_key: Annotated[str | None, Header()] = None) -> Run:
    """Answers at once. Any process may execute the run. A repeated request with the same key starts no second one."""
    return await shown(await manager.with_options(idempotency_key=idempotency_key).trigger(IMPORT))


@app.get("/imports/{run_id}")
async def show_import(run_id: str, wait: Annotated[float, Query(gt=0, le=30)] | None = None) -> Run:
    """The state of the run and its progress, after its end or after so many seconds."""
    run = manager.run_handle(IMPORT, run_id)
    if wait is not None:
        with suppress(TimeoutError):
            await run.wait(wait)
    return await shown(run)


@app.get("/imports/{run_id}/result")
async def import_result(run_id: str) -> Imported:
    """What the task returned."""
    return Imported.model_validate(await manager.run_handle(IMPORT, run_id).result(timeout=30))


@app.delete("/imports/{run_id}")
async def cancel_import(run_id: str) -> bool:
    """False if the run has ended before."""
    return await manager.run_handle(IMPORT, run_id).cancel()


# -- reminders --------------------------------------------------------------------------------------------------------


class Reminder(BaseModel):
    at: AwareDatetime
    text: str


def reminder_of(customer: UUID) -> str:
    return f"reminder of {customer}"


@app.put("/customers/{customer}/reminder")
async def plan_reminder(customer: UUID, reminder: Reminder) -> Reminder:
    """The customer has one reminder: a second request replaces it. It removes itself after its run."""
    await manager.add_dynamic_task(
        "Invoices",
        "remind",
        kwargs={"customer": customer, "text": reminder.text},
        name=reminder_of(customer),
        run_at=reminder.at,
        if_exists="replace",
    )
    return reminder


@app.delete("/customers/{customer}/reminder", status_code=204)
async def cancel_reminder(customer: UUID) -> None:
    await manager.remove_dynamic_task("Invoices", reminder_of(customer))


@app.get("/customers/{customer}/letters")
def letters(customer: UUID, session: Session) -> list[str]:
    """The endpoint and the tasks share the dependency."""
    return [text for (text,) in session.execute("SELECT text FROM letters WHERE customer = ?", (str(customer),))]


# -- reports ----------------------------------------------------------------------------------------------------------


@app.post("/reports/{day}")
async def make_report(day: date) -> Report:
    """Runs the nightly task now, for another day, and waits for what it returns."""
    run = await manager.with_options(priority="high").trigger(("Invoices", "report"), day=day)
    return Report.model_validate(await run.result(timeout=30))
