"""The bank, the shop and the chat, as the tasks see them: over HTTP, with one client for each process."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import httpx
from fastapi import Depends
from pydantic import BaseModel

from fastapi_task_manager import RunContext
from invoices.settings import CurrentSettings


def open_http() -> httpx.Client:
    """The startup hook of the manager: what it returns is the state of the process."""
    return httpx.Client(timeout=5)


def close_http(http: httpx.Client) -> None:
    """The shutdown hook."""
    http.close()


def get_http(context: RunContext) -> httpx.Client:
    """Tests override this one."""
    return context.state_of(httpx.Client)


Http = Annotated[httpx.Client, Depends(get_http)]


class Payment(BaseModel):
    id: int
    invoice: int
    cents: int


class Order(BaseModel):
    number: int
    customer: UUID
    cents: int
    due: date


class Payments(BaseModel):
    payments: list[Payment]


class Orders(BaseModel):
    """A page. `left`: how many orders follow after it."""

    orders: list[Order]
    left: int


class Bank:
    def __init__(self, http: Http, settings: CurrentSettings) -> None:
        self._http, self._url = http, settings.bank

    def payments(self, since: datetime | None) -> list[Payment]:
        """Errors: httpx.HTTPError."""
        params = {} if since is None else {"since": since.isoformat()}
        answer = self._http.get(f"{self._url}/payments", params=params).raise_for_status()
        return Payments.model_validate_json(answer.content).payments


class Shop:
    def __init__(self, http: Http, settings: CurrentSettings) -> None:
        self._http, self._url = http, settings.shop

    def orders(self, after: int) -> Iterator[Orders]:
        """The pages of orders after this number. Errors: httpx.HTTPError."""
        left = 1
        while left:
            answer = self._http.get(f"{self._url}/orders", params={"after": after}).raise_for_status()
            page = Orders.model_validate_json(answer.content)
            yield page
            left = page.left
            after = max((order.number for order in page.orders), default=after)


class Chat:
    def __init__(self, http: Http, settings: CurrentSettings) -> None:
        self._http, self._url = http, settings.chat

    def post(self, text: str) -> None:
        """Errors: httpx.HTTPError."""
        self._http.post(f"{self._url}/messages", json={"text": text}).raise_for_status()
