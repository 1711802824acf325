"""The processes on one store, as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fastapi_task_manager.schema.answer import Answer


class ClusterNode(Answer):
    """A living process."""

    node: str = Field(description="Identity of the process: service, host, process id and a random part")
    service: str = Field(description="`worker_service_name` of the process")
    started_at: datetime = Field(description="When the process started, by its own clock")
    is_leader: bool = Field(description="Does it schedule for all?")
    roles: list[str] = Field(description="What it does: schedule (it may lead), execute (it claims runs)")
    queues: list[str] | None = Field(description="The queues that it serves; null: every queue")
    tasks: int = Field(description="How many static tasks it declares")
    functions: int = Field(description="How many functions of dynamic tasks it can call")
    overran: list[str] = Field(description="Runs in its threads that have passed their timeouts and cannot be stopped")


class ClusterLeader(Answer):
    """The live term."""

    node: str = Field(description="Identity of the process that leads")
    token: int = Field(description="Fencing token of its term; each term has a greater one")
    remaining: float = Field(description="Seconds until its lease ends, unless it is extended")


class ClusterStore(Answer):
    """The store."""

    name: str = Field(description="Name of the store")
    durable: bool = Field(description="Does its content survive the process that opened it?")


class ClusterResponse(Answer):
    """The living processes, the leader, the queue and the store, by the time of the store."""

    now: datetime = Field(description="Time of the store")
    leader: ClusterLeader | None = Field(description="null while no process leads: nothing is scheduled then")
    nodes: list[ClusterNode] = Field(description="The living processes, in the order of their names")
    unreadable: list[str] = Field(
        description="Living processes of another release whose announcements this process cannot read"
    )
    queued: int = Field(description="Runs that wait for a worker")
    first_due: datetime | None = Field(description="The earliest due instant of all tasks; in the past: undecided")
    store: ClusterStore = Field(description="The store")
