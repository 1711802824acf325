"""The common parts of the applications. Their settings come from the environment."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from fastapi_task_manager import TaskManager
from tests.e2e.effects import EffectLog

PREFIX = "/task-manager"
FOLDER_VARIABLE = "E2E_FOLDER"
GROUPS_VARIABLE = "E2E_GROUPS"
TASKS_VARIABLE = "E2E_TASKS"

LOG_FORMAT = "%(created).6f|%(levelname)s|%(name)s|%(message)s"


def folder() -> Path:
    """The common folder of a cluster, with its effects and gates."""
    return Path(os.environ[FOLDER_VARIABLE])


def effects() -> EffectLog:
    return EffectLog(folder() / "effects.jsonl")


def application() -> tuple[FastAPI, TaskManager]:
    """An application with the management API and every line of the log."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.WARNING)
    logging.getLogger("fastapi.task-manager").setLevel(logging.DEBUG)
    app = FastAPI()
    manager = TaskManager(app)
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    app.add_api_route(f"{PREFIX}/stream", _stream)
    return app, manager


async def _stream() -> StreamingResponse:
    """An answer that has no end: the connection stays open until the client closes it."""
    return StreamingResponse(_ticks(), media_type="text/plain")


async def _ticks() -> AsyncGenerator[bytes]:
    while True:
        yield b"tick\n"
        await asyncio.sleep(0.05)
