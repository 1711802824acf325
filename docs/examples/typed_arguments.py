"""Arguments are JSON in the store, and values of the annotated types in the function.

uvicorn --app-dir docs/examples typed_arguments:app
"""

from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI
from pydantic import BaseModel, Field

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Invoices")
manager.add_task_group(group)

sent: list[str] = []


class Customer(BaseModel):
    id: UUID
    name: str


ADA = Customer(id=UUID(int=1), name="Ada")


@group.add_task("0 6 * * *", kwargs={"since": date(2026, 1, 1), "customer": ADA})
async def send_invoices(
    since: date, customer: Customer, at_least: Annotated[Decimal, Field(gt=0)] = Decimal(1)
) -> None:
    """Gets a date, a model and a number above zero, whatever the store and the callers write."""
    sent.append(f"{since:%d %B %Y}, {customer.name}, {at_least}")


@app.post("/customers/{name}")
async def remind(name: str, since: date) -> None:
    """Code gives values. The store keeps JSON."""
    customer = Customer(id=UUID(int=2), name=name)
    kwargs = {"since": since, "customer": customer}
    await manager.add_dynamic_task("Invoices", "send_invoices", "0 7 * * *", kwargs, name=f"to {name}")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
