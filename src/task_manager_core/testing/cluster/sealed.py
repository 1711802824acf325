"""An event loop that cannot reach the real world."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVarTuple

from task_manager_core.testing.cluster.failures import SimLeak

_Ts = TypeVarTuple("_Ts")


class SealedLoop(asyncio.BaseEventLoop):
    """Each use of sockets, programs, signals or other threads raises `SimLeak` and ends the whole run.

    To raise is not enough: code that survives every network error would survive this one, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owner = threading.get_ident()
        self._failure: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """End the run with this error after the current step, even if the step swallows it. The first error wins."""
        if self._failure is None:
            self._failure = error

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """The same as `call_soon`. A call from another thread is a leak, because real threads run in real time."""
        self._stay_in_thread()
        return self.call_soon(callback, *args, context=context)

    def _raise_failure(self) -> None:
        """Raise it once: asyncio.Runner uses the loop for its cleanup afterwards."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _leak(self, what: str) -> NoReturn:
        leak = SimLeak(what)
        self.fail(leak)
        raise leak

    def _stay_in_thread(self) -> None:
        if threading.get_ident() != self._owner:
            self._leak("a callback from another thread")


def _tripwire(name: str) -> Callable[..., NoReturn]:
    def leak(self: SealedLoop, *_args: object, **_kwargs: object) -> NoReturn:
        self._leak(f"loop.{name}")  # pyright: ignore[reportPrivateUsage]  # a method, though set from outside

    return leak


# By name: thirty methods with full signatures would only repeat that they must not be called.
for _name in (
    *("getaddrinfo", "getnameinfo", "create_connection", "create_server", "create_datagram_endpoint"),
    *("create_unix_connection", "create_unix_server", "connect_accepted_socket", "start_tls", "sendfile"),
    *("connect_read_pipe", "connect_write_pipe", "subprocess_exec", "subprocess_shell"),
    *("add_reader", "remove_reader", "add_writer", "remove_writer", "add_signal_handler", "remove_signal_handler"),
    *("sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
    *("sock_sendall", "sock_sendfile", "sock_sendto", "set_default_executor"),
):
    setattr(SealedLoop, _name, _tripwire(_name))
