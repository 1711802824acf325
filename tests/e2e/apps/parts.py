"""What every application here is made of. Everything about it comes from the environment."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from fastapi import FastAPI

from fastapi_task_manager import TaskManager
from tests.e2e.effects import EffectLog

PREFIX = "/task-manager"
FOLDER_VARIABLE = "E2E_FOLDER"
GROUPS_VARIABLE = "E2E_GROUPS"
TASKS_VARIABLE = "E2E_TASKS"

LOG_FORMAT = "%(created).6f|%(levelname)s|%(name)s|%(message)s"


def folder() -> Path:
    """Where the processes of a cluster meet: their effects and their gates."""
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
    return app, manager
