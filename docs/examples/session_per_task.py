"""A database session for each attempt, from the same dependency as in the endpoints.

uvicorn --app-dir docs/examples session_per_task:app
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

DATABASE = Path(tempfile.mkdtemp()) / "invoices.sqlite"

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Invoices")
manager.add_task_group(group)


def get_database() -> Path:
    """Tests override this one."""
    return DATABASE


def get_session(database: Annotated[Path, Depends(get_database)]) -> Iterator[sqlite3.Connection]:
    """Commits when the task has returned, rolls back when it has failed, and closes in any case."""
    with closing(sqlite3.connect(database, check_same_thread=False)) as session, session:
        session.execute("CREATE TABLE IF NOT EXISTS reminders (run TEXT PRIMARY KEY, customer TEXT)")
        yield session


Session = Annotated[sqlite3.Connection, Depends(get_session)]


class Reminders:
    """A class is a dependency, too. It shares the session of its task."""

    def __init__(self, session: Session, context: RunContext) -> None:
        self._session, self._context = session, context

    def send(self, customer: str) -> None:
        """The run id makes the second attempt of a run a repetition, and not a second reminder."""
        self._session.execute("INSERT OR IGNORE INTO reminders VALUES (?, ?)", (self._context.run_id, customer))


@group.add_task("0 6 * * *", kwargs={"customer": "Ada"}, max_retries=3, retry_backoff=0.05)
async def remind(customer: str, reminders: Annotated[Reminders, Depends()], context: RunContext) -> None:
    """Fails once after its work. The rollback takes the work back, and the retry does it again."""
    reminders.send(customer)
    if context.attempt == 1:
        raise ConnectionError("the mail server does not answer")


@group.add_task("0 7 * * *")
def tidy(session: Session) -> None:
    """A synchronous task has the same dependencies."""
    session.execute("DELETE FROM reminders WHERE customer = ''")


@app.get("/reminders")
def reminders(session: Session) -> list[str]:
    """The endpoint and the tasks share the dependency."""
    return [customer for (customer,) in session.execute("SELECT customer FROM reminders")]


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
