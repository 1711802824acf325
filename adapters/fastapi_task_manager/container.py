"""The composition root: the one place where the parts of a process are put together, and the only module that imports
dependency-injector.

It uses the providers alone. `dependency_injector.containers` imports FastAPI to prepare wiring that is not used here,
which delays the first slot of a process without FastAPI by up to a second. Nothing imports this module before a manager
starts. The store is open before a container is built: an asynchronous resource would turn all providers that depend on
it into futures.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from dependency_injector import providers

from fastapi_task_manager.arguments import json_of
from fastapi_task_manager.observers.fanout import Fanout
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.executor import Around
from task_manager_core.application.node import Node
from task_manager_core.application.processes import ProcessPool
from task_manager_core.domain.duties import ALL_DUTIES, Duties
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import NodePolicy
from task_manager_core.ports import Backend, Clock, ReopenBackend


class SystemClock(Clock):
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def new_node_id(service: str) -> NodeId:
    """An identity that no other process has, before or after: host and process id for people, and a random part."""
    return NodeId(f"{service}@{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}")


class Container:
    """The parts of one node, each made when it is first asked for.

    Tests replace a part with `Container.clock.override(providers.Object(clock))` before the manager starts.
    """

    clock: providers.Provider[Clock] = providers.Singleton(SystemClock)

    def __init__(
        self,
        *,
        backend: Backend,
        declarations: Declarations,
        policy: NodePolicy,
        observer: Fanout,
        service: str,
        logger: logging.Logger,
        make_node: Callable[..., Node] = Node,
        state: object = None,
        reopen: ReopenBackend | None = None,
        processes: ProcessPool | None = None,
        duties: Duties = ALL_DUTIES,
        around: Around | None = None,
        keep_lines: bool = False,
    ) -> None:
        self.node_id: providers.Provider[NodeId] = providers.Singleton(new_node_id, service)
        self.node: providers.Provider[Node] = providers.Singleton(
            make_node,
            node=self.node_id,
            service=service,
            backend=backend,
            declarations=declarations,
            policy=policy,
            clock=self.clock,
            observer=observer,
            logger=logger,
            to_json=providers.Object(json_of),
            state=providers.Object(state),
            reopen=providers.Object(reopen),
            processes=providers.Object(processes),
            duties=providers.Object(duties),
            around=providers.Object(around),
            keep_lines=providers.Object(keep_lines),
        )
