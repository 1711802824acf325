"""Several observers as one."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi_task_manager.observers.logs import logger_of
from task_manager_core.domain.events import Event
from task_manager_core.ports import Observer

_log = logger_of("runner")


class Fanout:
    """Notifies each observer, in order. If an observer raises, the others are still notified and the service goes
    on."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = tuple(observers)

    def notice(self, event: Event) -> None:
        for observer in self.observers:
            try:
                observer.notice(event)
            except Exception:  # noqa: BLE001 - user code: its error must not end a service
                _log.exception("%s raised an exception about %s", type(observer).__name__, type(event).__name__)
