"""Notifications in memory."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.ports import Notifier
from task_manager_memory.state import State


class MemoryNotifier(Notifier):
    def __init__(self, state: State) -> None:
        self._state = state

    async def wait(self, timeout: timedelta) -> None:
        await self._state.notifications.wait(timeout)
