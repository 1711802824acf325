"""The bank, the shop and the chat, as far as the application needs them: for its tests, and to try it out.

PYTHONPATH=docs/examples python -m invoices.outside
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from uuid import UUID

import httpx

from invoices.partners import Order, Orders, Payment, Payments

CUSTOMERS = 10


class Outside:
    """Before each answer of the bank a customer pays one order. `failing` is how many of the next requests to the bank
    fail. With `unreliable` each fifth one fails, too."""

    def __init__(self, orders: int = 0, page: int = 50, *, unreliable: bool = False) -> None:
        self.page = page
        self.unreliable = unreliable
        self.failing = 0
        self.orders: list[Order] = []
        self.payments: list[Payment] = []
        self.messages: list[str] = []
        self.asked: list[httpx.QueryParams] = []
        """The requests to the bank."""
        self._bank = Lock()
        for _ in range(orders):
            self.add_order()

    def add_order(self) -> Order:
        number = len(self.orders) + 1
        customer, due = UUID(int=number % CUSTOMERS + 1), date(2026, 7, 1) + timedelta(days=number)
        order = Order(number=number, customer=customer, cents=1000 + number, due=due)
        self.orders.append(order)
        return order

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Everything that it does."""
        match request.method, request.url.path:
            case "GET", "/payments":
                with self._bank:
                    return self._payments(request.url.params)
            case "GET", "/orders":
                return self._orders(int(request.url.params["after"]))
            case "POST", "/messages":
                self.messages.append(json.loads(request.content)["text"])
                return httpx.Response(204)
            case _:
                return httpx.Response(404)

    def _payments(self, params: httpx.QueryParams) -> httpx.Response:
        self.asked.append(params)
        if self.failing or (self.unreliable and len(self.asked) % 5 == 0):
            self.failing = max(self.failing - 1, 0)
            return httpx.Response(503)
        if len(self.payments) < len(self.orders):
            paid = self.orders[len(self.payments)]
            self.payments.append(Payment(id=paid.number, invoice=paid.number, cents=paid.cents))
        return _json(Payments(payments=self.payments[-100:]))

    def _orders(self, after: int) -> httpx.Response:
        page = self.orders[after : after + self.page]
        return _json(Orders(orders=page, left=len(self.orders) - after - len(page)))


def _json(model: Orders | Payments) -> httpx.Response:
    return httpx.Response(200, content=model.model_dump_json(), headers={"Content-Type": "application/json"})


@contextmanager
def serving(outside: Outside, port: int = 0) -> Iterator[str]:
    """Serve it on this machine. The value is its address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = outside.answer(httpx.Request(self.command, f"http://outside{self.path}", content=content))
            with suppress(ConnectionError):  # The client may be gone.
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        do_GET = do_POST = answer  # noqa: N815 - the names that the base class looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with serving(Outside(orders=500, unreliable=True), port=9000) as address:
        print(f"the bank, the shop and the chat answer on {address} until you press Enter")
        input()
