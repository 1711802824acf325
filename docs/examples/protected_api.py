"""The management API behind a token. Without it every caller could run and remove tasks.

MANAGEMENT_TOKEN=… uvicorn --app-dir docs/examples protected_api:app
"""

import os
import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

token = os.environ.get("MANAGEMENT_TOKEN") or secrets.token_urlsafe()


def check_token(request: Request, given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> None:
    """Compare in constant time."""
    if not secrets.compare_digest(given.credentials.encode(), token.encode()):
        raise HTTPException(401, "wrong token")
    request.state.task_manager_caller = "the operator"  # for the log


app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Reports")
manager.add_task_group(group)


@group.add_task("0 * * * *")
async def report() -> None:
    """Runs every hour."""


# Any FastAPI dependency works. Every route of the router asks it first, /health included.
router = manager.get_manager_router(dependencies=[Depends(check_token)])
app.include_router(router, prefix="/task-manager", tags=["task-manager"])


@app.get("/alive")
async def alive() -> bool:
    """Needs no token, and tells nothing else."""
    return await manager.is_healthy()
