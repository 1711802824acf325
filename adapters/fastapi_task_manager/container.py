"""The composition root: the one place where the parts of a process are put together, and the only module that imports
dependency-injector.

Nothing imports this module before a manager starts: dependency-injector looks for FastAPI on import, which takes time.
The store is open before a container is built: an asynchronous resource would turn all providers that depend on it into
futures.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from datetime import UTC, datetime
from uuid import uuid4

from dependency_injector import containers, providers

from fastapi_task_manager.observers.fanout import Fanout
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import NodePolicy
from task_manager_core.ports import Backend, Clock


class SystemClock(Clock):
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def new_node_id(service: str) -> NodeId:
    """An identity that no other process has, before or after: host and process id for people, and a random part."""
    return NodeId(f"{service}@{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}")


class Container(containers.DeclarativeContainer):
    """Tests replace a part with `Container.clock.override(providers.Object(clock))` before the manager starts."""

    backend: providers.Provider[Backend] = providers.Dependency(instance_of=Backend)
    declarations: providers.Provider[Declarations] = providers.Dependency(instance_of=Declarations)
    policy: providers.Provider[NodePolicy] = providers.Dependency(instance_of=NodePolicy)
    observer: providers.Provider[Fanout] = providers.Dependency(instance_of=Fanout)
    service: providers.Provider[str] = providers.Dependency(instance_of=str)
    logger: providers.Provider[logging.Logger] = providers.Dependency(instance_of=logging.Logger)

    clock: providers.Provider[Clock] = providers.Singleton(SystemClock)
    node_id: providers.Provider[NodeId] = providers.Singleton(new_node_id, service)
    node: providers.Provider[Node] = providers.Singleton(
        Node,
        node=node_id,
        service=service,
        backend=backend,
        declarations=declarations,
        policy=policy,
        clock=clock,
        observer=observer,
        logger=logger,
    )
