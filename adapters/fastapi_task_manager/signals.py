"""SIGINT and SIGTERM: the process is going to end.

After such a signal a server serves its open connections for as long as they last, and ends the lifespan only then. A
leader that waited for that would keep its term, and a worker would go on claiming. So the node hears the signal itself,
and every handler that the server or the application has installed is called as before.
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
"""A library that puts its handler before ours again and again is given way after so many times."""

_Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | signal.Handlers | None"


@dataclass(slots=True, eq=False)
class Listener:
    """`heard` is called in `loop` with the monotonic instant of the signal. `draining`: the listener ends already, and
    wants to hear also those signals that would end the process on the spot."""

    loop: asyncio.AbstractEventLoop
    on_signal: Callable[[float], object]
    draining: bool = False


class EndSignals:
    """Laws: a handler that stood before ours, or was put after it, is called for each signal; ours is taken away with
    the last listener, unless another one stands before it by then.

    Python lets only the main thread install handlers. A listener in another thread hears nothing unless one in the main
    thread listens, too; its node then leaves with the lifespan.
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
        """This listener ends: from now on no signal ends the process before it has ended."""
        listener.draining = True
        self.renew()

    def renew(self) -> None:
        """Stand before the present handlers, also those that were installed since the last call."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._listeners:
            self._made = 0
        for number in SIGNALS:
            link, standing = self._links.get(number), signal.getsignal(number)
            if standing is not link:
                self._links.pop(number, None)  # Somebody stands before it, and may call it: it only passes on now.
                self._install_before(number, standing)
            elif link is not None and not self._wants(link.previous):
                signal.signal(number, link.previous)
                del self._links[number]

    def _install_before(self, number: int, standing: _Handler) -> None:
        if self._wants(standing) and self._made < MOST_LINKS:
            self._made += 1
            self._links[number] = link = _Link(self, standing)
            signal.signal(number, link)

    def _wants(self, standing: _Handler) -> bool:
        """Handlers that somebody installed. The defaults end the process, or interrupt it anywhere: only a listener
        that ends anyway keeps them from it. An ignored signal stays ignored."""
        if standing is signal.SIG_DFL or standing is signal.default_int_handler:
            return any(listener.draining for listener in self._listeners)
        return callable(standing) and bool(self._listeners)

    def signalled(self, number: int, link: _Link) -> None:
        """Called inside a signal handler, between any two steps of the main thread."""
        if self._links.get(number) is not link:
            return
        at = time.monotonic()
        for listener in tuple(self._listeners):
            with suppress(RuntimeError):  # A loop that is closed has nothing to hear any more.
                listener.loop.call_soon_threadsafe(listener.on_signal, at)


class _Link:
    """Our handler before another one."""

    def __init__(self, signals: EndSignals, standing: _Handler) -> None:
        self._signals = signals
        self.previous = standing

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._signals.signalled(number, self)
        if callable(self.previous) and self.previous is not signal.default_int_handler:
            self.previous(number, frame)


END_SIGNALS = EndSignals()
"""Signals belong to the process, so there is one of these."""
