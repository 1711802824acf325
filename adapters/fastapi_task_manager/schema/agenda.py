"""The coming slots of all tasks, as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fastapi_task_manager.schema.answer import Answer


class AgendaSlot(Answer):
    """A coming slot of a task."""

    task_group_name: str = Field(description="Group of the task")
    task_name: str = Field(description="Name of the task inside its group")
    slot: datetime = Field(description="The planned instant")
    local: datetime = Field(description="The same instant as a clock in the schedule's zone shows it")
    note: str | None = Field(default=None, description="What a daylight saving rule did on that day")


class AgendaBucket(Answer):
    """A part of the time. Parts without slots are left out."""

    start: datetime = Field(description="When it begins")
    count: int = Field(description="How many slots fall into it")


class AgendaResponse(Answer):
    """The coming slots of all tasks that match."""

    start: datetime = Field(description="Slots from this instant on")
    end: datetime = Field(description="Slots before this instant")
    bucket: float = Field(description="Length of each part in seconds")
    buckets: list[AgendaBucket] = Field(description="The parts of the time with the number of their slots, in order")
    slots: list[AgendaSlot] = Field(description="The first slots, at most 1,000")
    count: int = Field(description="How many slots there are, also those that `slots` does not list")
    stopped_at: datetime | None = Field(
        default=None,
        description="null: the answer is complete. Otherwise computing stopped here, and every slot before this "
        "instant is counted: ask again from it",
    )
