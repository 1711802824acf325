"""SIGINT and SIGTERM: the process is going to end.

After such a signal a server finishes its open connections, and only then ends the lifespan. Until then a leader would
keep its term, and a worker would go on claiming. So the node receives the signal itself. Every handler that the server
or the application has installed is called as before.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import TypeAlias

SIGNALS = (signal.SIGINT, signal.SIGTERM)

MOST_LINKS = 10
"""Ours is installed before the handler of a library that installs its own again and again, but at most so often."""

_Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | signal.Handlers | None"


@dataclass(slots=True, eq=False)
class Listener:
    """`on_signal` is called in `loop` with the monotonic instant of the signal. `draining`: the listener is stopping,
    and must also receive the signals that would end the process at once."""

    loop: asyncio.AbstractEventLoop
    on_signal: Callable[[float], object]
    draining: bool = False


class EndSignals:
    """Laws: a handler that was installed before ours or after it is called for each signal. Ours is removed with the
    last listener, unless another handler was installed after it.

    Python lets only the main thread install handlers. A listener in another thread receives signals only while one in
    the main thread listens, too. Without them its node leaves when the lifespan ends.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._links: dict[int, _Link] = {}
        self._made = 0

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)
        self.renew()

    def remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        self.renew()

    def drain(self, listener: Listener) -> None:
        """This listener is stopping: until it has stopped, no signal ends the process."""
        listener.draining = True
        self.renew()

    def renew(self) -> None:
        """Install our handler before the current ones, also before those that were installed since the last call."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._listeners:
            self._made = 0
        for number in SIGNALS:
            link, current = self._links.get(number), signal.getsignal(number)
            if current is not link:
                self._links.pop(number, None)  # A newer handler may call ours, which now only calls the previous one.
                self._install_before(number, current)
            elif link is not None and not self._wants(link.previous):
                signal.signal(number, link.previous)
                del self._links[number]

    def _install_before(self, number: int, current: _Handler) -> None:
        if self._wants(current) and self._made < MOST_LINKS:
            self._made += 1
            self._links[number] = link = _Link(self, current)
            signal.signal(number, link)

    def _wants(self, current: _Handler) -> bool:
        """Should ours be installed before this handler? Before every handler of an application or a server. Python's
        defaults end the process or interrupt it anywhere: ours replaces them only while a listener is stopping. An
        ignored signal stays ignored."""
        if current is signal.SIG_DFL or current is signal.default_int_handler:
            return any(listener.draining for listener in self._listeners)
        return callable(current) and bool(self._listeners)

    def signalled(self, number: int, link: _Link) -> None:
        """Called inside a signal handler, between any two steps of the main thread."""
        if self._links.get(number) is not link:
            return
        at = time.monotonic()
        for listener in tuple(self._listeners):
            with suppress(RuntimeError):  # The event loop of the listener is closed.
                listener.loop.call_soon_threadsafe(listener.on_signal, at)


class _Link:
    """Our handler, installed before another one."""

    def __init__(self, signals: EndSignals, current: _Handler) -> None:
        self._signals = signals
        self.previous = current

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._signals.signalled(number, self)
        if callable(self.previous) and self.previous is not signal.default_int_handler:
            self.previous(number, frame)


END_SIGNALS = EndSignals()
"""Signals belong to the process, so there is one of these."""
