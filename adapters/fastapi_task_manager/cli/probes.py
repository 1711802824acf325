"""Probes for an orchestrator: a file, an HTTP port, and the command `task-manager health`."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fastapi_task_manager.cli.status import Status, write_file

Probe = Literal["ready", "live"]

REQUEST_SECONDS = 5.0
"""A probe has so long to send its request."""

MOST_REQUESTS = 20
"""So many probes at a time: a server on an open port holds no more connections."""

LONGEST_REQUEST = 4096


class Probes:
    """Shows the latest status of a worker in a file and on a port."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._status: Callable[[], Status] | None = None
        self._requests = 0

    @asynccontextmanager
    async def serving(self, status: Callable[[], Status], host: str, port: int | None) -> AsyncGenerator[None]:
        """Answer probes inside the context. Errors: OSError if the port is in use or the file cannot be written."""
        self._status = status
        self.show()
        server = None if port is None else await asyncio.start_server(self._answer, host, port, limit=LONGEST_REQUEST)
        try:
            yield
        finally:
            if server is not None:
                server.close()
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    def show(self) -> None:
        """Write the file again."""
        if self._file is not None and self._status is not None:
            write_file(self._file, replace(self._status(), at=time.time()))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._requests += 1
        try:
            if self._requests <= MOST_REQUESTS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # A probe that sends no request gets no answer.
        finally:
            self._requests -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.decode("latin-1").partition(" ")
        path = rest.split(" ", 1)[0].partition("?")[0].rstrip("/")
        assert self._status is not None
        status = self._status()
        healthy = {"/ready": status.ready, "/live": status.live, "/health": status.ready and status.live}.get(path)
        if method not in ("GET", "HEAD"):
            code, body = "405 Method Not Allowed", json.dumps({"detail": "GET"})
        elif healthy is None:
            code, body = "404 Not Found", json.dumps({"detail": "/live, /ready or /health"})
        else:
            code, body = "200 OK" if healthy else "503 Service Unavailable", status.text()
        lines = [
            f"HTTP/1.1 {code}",
            "Content-Type: application/json",
            f"Content-Length: {len(body.encode())}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + ("" if method == "HEAD" else body)).encode()


def ask_file(path: Path, probe: Probe, max_age: float) -> str | None:
    """What is wrong according to the file; None if nothing is."""
    try:
        status = Status.parse(path.read_bytes())
    except FileNotFoundError:
        return f"{path} does not exist: the worker has not started, or has ended"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}"
    age = time.time() - status.at
    if age > max_age:
        return f"{path} is {age:.0f} s old (--max-age {max_age:g}): the worker hangs or is dead"
    return _wrong(status, probe)


def ask_port(host: str, port: int, probe: Probe, timeout: float) -> str | None:
    """The same according to the HTTP port."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", f"/{probe}")
        return _wrong(Status.parse(connection.getresponse().read()), probe)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"http://{host}:{port}/{probe} does not answer: {str(error) or type(error).__name__}"
    finally:
        connection.close()


def _wrong(status: Status, probe: Probe) -> str | None:
    return None if (status.ready if probe == "ready" else status.live) else f"not {probe}: {status.reason}"
