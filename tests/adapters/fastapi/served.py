"""Serves an application with a real server. A test sends bytes, so it can read the answer before the body ends."""

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
    """Run a server in its own thread, and yield its port."""
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
class Connection:
    """A connection that carries one request."""

    stream: socket.socket

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def status(self) -> int:
        """The status of the answer, as soon as its head arrives."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.stream.recv(65536)
            assert piece, head
            head += piece
        return int(head.split(b" ", 2)[1])


@contextmanager
def connect(port: int) -> Iterator[Connection]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield Connection(connection)
