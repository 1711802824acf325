"""The duties of a process: its roles, and the queues from which it claims runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.policy import require

DEFAULT_QUEUE = "default"
"""The queue of a task that names none."""

LONGEST_QUEUE_NAME = 64

MOST_QUEUES = 100
"""A process names at most so many queues: each claim looks at each of them."""

_QUEUE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]*")


class Role(Enum):
    """What a process may do beside answering requests.

    A process with SCHEDULE may lead: it decides about due slots and reaps the claims of dead workers. A process with
    EXECUTE claims runs and executes them. A process with neither lists, triggers and explains tasks.
    """

    SCHEDULE = "schedule"
    EXECUTE = "execute"


ALL_ROLES = frozenset(Role)


def check_queue(field: str, value: object) -> str:
    """Return the name of a queue, or raise InvalidPolicy. A list of names on a command line has commas."""
    if not isinstance(value, str) or len(value) > LONGEST_QUEUE_NAME or not _QUEUE_NAME.fullmatch(value):
        reason = (
            f"the name of a queue has 1 to {LONGEST_QUEUE_NAME} letters, digits, '_', '-' and '.', and begins with a "
            "letter or a digit"
        )
        raise InvalidPolicy(field, value, reason)
    return str.__str__(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """The roles of a process, and the queues that it serves; None: every queue.

    By default a process does everything and serves every queue, so that no run is stranded because a process was
    forgotten.
    """

    roles: frozenset[Role] = ALL_ROLES
    queues: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.queues is None:
            return
        queues = sorted(self.queues)
        for queue in queues:
            check_queue("queues", queue)
        require(queues, "queues", queues, "must name a queue; a process without the role execute serves none")
        require(len(queues) <= MOST_QUEUES, "queues", len(queues), f"must be at most {MOST_QUEUES}")
        roles = sorted(role.value for role in self.roles)
        require(
            self.executes,
            "queues",
            queues,
            f"contradicts roles={roles}: a process without the role execute serves none",
        )

    @property
    def schedules(self) -> bool:
        return Role.SCHEDULE in self.roles

    @property
    def executes(self) -> bool:
        return Role.EXECUTE in self.roles

    def serves(self, queue: str) -> bool:
        """Does the process claim runs of this queue?"""
        return self.executes and (self.queues is None or queue in self.queues)


ALL_DUTIES = Duties()
