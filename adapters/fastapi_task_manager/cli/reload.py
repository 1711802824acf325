"""Notices that the source of an application has changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

LOOK_SECONDS = 1.0

_LEFT_OUT = frozenset({"node_modules", "__pycache__", "site-packages"})


async def next_change(folder: Path) -> str:
    """Wait until a .py file below the folder changes, and return its name. `watchfiles` tells it at once if it is
    installed; otherwise the times of the files are compared each second."""
    try:
        watchfiles: Any = import_module("watchfiles")
    except ImportError:
        return await _by_looking(folder)
    async for changes in watchfiles.awatch(folder, watch_filter=watchfiles.PythonFilter()):
        return str(min(path for _, path in changes))
    return await _by_looking(folder)


async def _by_looking(folder: Path) -> str:
    before = await asyncio.to_thread(_times, folder)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = await asyncio.to_thread(_times, folder)
        changed = [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
        if changed:
            return min(changed)


def _times(folder: Path) -> dict[str, int]:
    return dict(_files(folder))


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith(".")]
        for name in names:
            if name.endswith(".py"):
                path = Path(parent, name)
                try:
                    yield str(path), path.stat().st_mtime_ns
                except OSError:
                    continue  # It was deleted meanwhile.
