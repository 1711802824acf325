"""The tasks. Each is a plain function: a database and an HTTP client that block belong into threads."""

import os
from datetime import date, datetime, timedelta
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Depends
from pydantic import BaseModel

from fastapi_task_manager import Callbacks, Config, RunContext, TaskGroup, TaskManager
from invoices.database import Session
from invoices.partners import Bank, Chat, Order, Shop, close_http, open_http
from invoices.settings import get_settings

ROME = ZoneInfo("Europe/Rome")
LATE = timedelta(minutes=5)
"""The bank may list a payment so late."""

config = Config(redis_host=os.environ.get("TASK_MANAGER_REDIS_HOST", "localhost"), redis_key_prefix="invoices")
manager = TaskManager(config=config, startup=open_http, shutdown=close_http)

# -- alerts -----------------------------------------------------------------------------------------------------------


async def ask_for_alert(context: RunContext, error: BaseException) -> None:
    """A run has failed for good. The alert is a run, too: it outlives this process, and waits for a chat that is
    away."""
    once = manager.with_options(idempotency_key=context.run_id)
    await once.trigger(("Alerts", "alert"), task=str(context.task), error=str(error))


alerts = TaskGroup("Alerts")
invoices = TaskGroup("Invoices", timezone=ROME.key, callbacks=Callbacks(on_failure=ask_for_alert))
manager.add_task_group(alerts)
manager.add_task_group(invoices)


@alerts.add_task()
def alert(task: str, error: str, chat: Annotated[Chat, Depends()]) -> None:
    """Tell the people on call. It is in a group of its own, so that its failures ask for no alerts."""
    chat.post(f"{task} has failed: {error}")


# -- payments ---------------------------------------------------------------------------------------------------------


@invoices.add_task(interval=get_settings().sync_every, max_retries=3, allow_parallel=False)
def sync_payments(bank: Annotated[Bank, Depends()], session: Session, context: RunContext) -> int:
    """Fetch the payments since the last success. A bank that fails is asked again after 1, 2 and 4 seconds."""
    last = context.previous().wait()
    payments = bank.payments(since=None if last is None else last.at - LATE)
    new = session.executemany(
        "INSERT INTO payments VALUES (:id, :invoice, :cents) ON CONFLICT DO NOTHING",
        [payment.model_dump() for payment in payments],
    ).rowcount
    context.logger.info("%d new payments", new)
    return new


# -- orders -----------------------------------------------------------------------------------------------------------


class Imported(BaseModel):
    orders: int
    newest: int


@invoices.add_task("30 1 * * *", max_retries=5, retry_backoff=10, allow_parallel=False, timeout=timedelta(hours=1))
def import_orders(shop: Annotated[Shop, Depends()], session: Session, context: RunContext) -> Imported:
    """Make an invoice of each order since the last import: fetch all of them first, and write them in one transaction.

    If the process dies, the database forgets the transaction, and the store keeps the cursor of the last success: the
    next attempt begins where this one began. If it dies between the commit and the answer of the store, the next
    attempt finds the invoices by their numbers.
    """
    newest = context.cursor.get(int).wait() or 0
    orders: list[Order] = []
    for page in shop.orders(after=newest):
        orders += page.orders
        context.progress(len(orders), len(orders) + page.left, f"{len(orders)} orders fetched")
        if context.cancelled.is_set():
            raise InterruptedError("a caller has cancelled the import, or its process stops")
    new = session.executemany(
        "INSERT INTO invoices VALUES (:number, :customer, :cents, :due, :run) ON CONFLICT DO NOTHING",
        [{**order.model_dump(mode="json"), "run": context.run_id} for order in orders],
    ).rowcount
    newest = max((order.number for order in orders), default=newest)
    context.cursor.set(newest)
    context.log(f"{new} new invoices")
    return Imported(orders=new, newest=newest)


# -- customers --------------------------------------------------------------------------------------------------------


@invoices.register_function()
def remind(customer: UUID, text: str, session: Session, context: RunContext) -> None:
    """Send one letter for each run: a second attempt finds the letter of the first one."""
    session.execute(
        "INSERT INTO letters VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (context.run_id, str(customer), text)
    )


# -- the report -------------------------------------------------------------------------------------------------------


class Report(BaseModel):
    day: date
    open_invoices: int
    open_cents: int
    overdue: int


@invoices.add_task("0 6 * * *", max_retries=5)
def report(session: Session, context: RunContext, day: date | None = None) -> Report:
    """The open invoices at the end of a day; without an argument that of yesterday. The history keeps it as the result
    of the run."""
    if day is None:
        day = (context.slot or datetime.now(ROME)).astimezone(ROME).date() - timedelta(days=1)
    (count, cents, overdue) = session.execute(
        "SELECT count(*), coalesce(sum(cents), 0), coalesce(sum(due <= ?), 0) FROM open_invoices", (day.isoformat(),)
    ).fetchone()
    context.logger.info("the report of %s is ready", day, extra={"open_cents": cents})
    return Report(day=day, open_invoices=count, open_cents=cents, overdue=overdue)
