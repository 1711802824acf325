"""Coming slots, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from fastapi_task_manager.schema.answer import Answer
from fastapi_task_manager.schema.body import Body, at_most
from fastapi_task_manager.schema.numbers import WholeNumber
from task_manager_core.domain.preview import MOST_UPCOMING
from task_manager_core.domain.schedule import MOST_RULES


class UpcomingSlot(BaseModel):
    """One coming slot."""

    utc: datetime = Field(description="The instant, which is the slot's identity")
    local: datetime = Field(description="The same instant as a clock in the schedule's zone shows it")
    note: str | None = Field(description="What a daylight saving rule did on that day")


class UpcomingResponse(Answer):
    """The coming slots of a schedule, fewer than asked for if it ends, or if they take too long to compute."""

    upcoming: list[UpcomingSlot] = Field(description="The slots in order")
    stopped_at: datetime | None = Field(
        default=None,
        description="null: here is all that was asked for. Otherwise computing stopped here, and every slot up to this "
        "instant is listed: ask again from it",
    )


class PreviewRequest(Body):
    """A schedule without a task."""

    cron_expression: Annotated[str | list[str], at_most(MOST_RULES)] = Field(
        description="One expression, or a list: the union", examples=["0 2 * * *"]
    )
    timezone: str = Field(default="UTC", description="IANA name", examples=["Europe/Rome"])
    gap: Literal["shift", "skip"] = Field(default="shift", description="A local time that does not exist")
    fold: Literal["first", "both"] = Field(default="first", description="A local time that happens twice")
    start: AwareDatetime | None = Field(
        default=None, description="Slots after this instant, of the years 1970 to 9998; default: now"
    )
    count: WholeNumber = Field(default=10, ge=1, le=MOST_UPCOMING, description="How many slots")
    seed: str | None = Field(default=None, description='What H depends on: "group/name" of the task', max_length=500)
