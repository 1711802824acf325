"""Where the identity of a process comes from."""

from __future__ import annotations

import os
import socket
from uuid import uuid4

from task_manager_core.domain.identity import NodeId


def fresh_node_id(service: str) -> NodeId:
    """An identity that no other life of any process has: what people look for, and chance."""
    return NodeId(f"{service}@{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}")
