"""How an attempt reads and writes the memory of its task. It is read only if the function asks for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Generic, TypeVar

from task_manager_core.application.loop import running_loop
from task_manager_core.application.result import plain_json
from task_manager_core.domain.memory import LastSuccess, TaskMemory

LARGEST_CURSOR = 4096
"""Bytes of its JSON."""

PATIENCE = 30.0
"""Seconds for which a thread waits for the store."""

T = TypeVar("T")

ReadMemory = Callable[[], Awaitable[TaskMemory]]


class Reading(Generic[T]):
    """A value of the store: `await` it in the event loop, or `wait()` for it in a thread."""

    def __init__(
        self, read: Callable[[], Coroutine[object, object, T]], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self._read = read
        self._loop = loop

    def __await__(self) -> Generator[object, object, T]:
        return self._read().__await__()

    def wait(self) -> T:
        """The value, for a synchronous function.

        Raises:
            RuntimeError: An asynchronous function has to await it.
            TimeoutError: The store did not answer.
        """
        if self._loop is None:
            return asyncio.run(self._read())
        if self._loop is running_loop():
            raise RuntimeError("await it: a wait would stop the event loop")
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(PATIENCE)


class Cursor:
    """A small value that a task keeps from one run to the next: the place up to which it has worked."""

    def __init__(self, read: ReadMemory, loop: asyncio.AbstractEventLoop | None) -> None:
        self._read = read
        self._loop = loop
        self._text: str | None = None

    @property
    def text(self) -> str | None:
        """The JSON that this attempt has set; None if it has set none."""
        return self._text

    def get(self, kind: type[T]) -> Reading[T | None]:
        """The value that this attempt has set, else the stored one; None if there is none.

        Args:
            kind: The class of the value: str, int, float, bool, list or dict.

        Raises:
            TypeError: When it is awaited: the value has another class.
        """

        async def read() -> T | None:
            text = (await self._read()).cursor if self._text is None else self._text
            value: object = None if text is None else json.loads(text)
            if value is None or isinstance(value, kind):
                return value
            raise TypeError(f"the cursor is {value!r}, not a {kind.__name__}")

        return Reading(read, self._loop)

    def set(self, value: object) -> None:
        """Replace the value when the attempt succeeds: the store writes it in the step that accepts its success.

        Raises:
            ValueError: It is no JSON, or its JSON has more than 4,096 bytes.
        """
        try:
            text = plain_json(value)
            size = len(text.encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the cursor must be JSON: {error}") from None
        if size > LARGEST_CURSOR:
            raise ValueError(f"the JSON of the cursor must have at most {LARGEST_CURSOR} bytes, not {size}")
        self._text = text


class Memory:
    """The memory of the task, as one attempt sees it."""

    __slots__ = ("_loop", "_read", "cursor")

    def __init__(self, read: ReadMemory, loop: asyncio.AbstractEventLoop | None) -> None:
        self._read = read
        self._loop = loop
        self.cursor = Cursor(read, loop)

    def success(self) -> Reading[LastSuccess | None]:
        async def read() -> LastSuccess | None:
            return (await self._read()).success

        return Reading(read, self._loop)


def remembering(memory: TaskMemory) -> Memory:
    """A memory without a store, for a test of a function."""

    async def read() -> TaskMemory:
        return memory

    return Memory(read, None)
