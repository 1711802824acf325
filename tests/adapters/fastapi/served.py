"""The application behind a real server, and requests as bytes, so that an answer may come before all is sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from tests.waiting import wait_until


@contextmanager
def uvicorn_of(app: FastAPI) -> Iterator[int]:
    """The port of a server in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server listens")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Line:
    """A connection on which one request is spoken."""

    connection: socket.socket

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def status(self) -> int:
        """Of the answer, as soon as its head is there."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.connection.recv(65536)
            assert piece, head
            head += piece
        return int(head.split(b" ", 2)[1])


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield Line(connection)
