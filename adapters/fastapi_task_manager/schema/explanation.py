"""Why a task runs next when it does, as the API shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from task_manager_core.domain.explain import ReasonCode
from task_manager_core.domain.explain_slot import SlotVerdict


class ExplainedReason(BaseModel):
    """One reason. `code` is one of a closed set, `text` is for people."""

    code: ReasonCode = Field(description="What the reason is about")
    text: str = Field(description="The reason in words")


class TaskExplanation(BaseModel):
    """The reasons in order; the last is what the scheduler would decide about the next slot as things stand. With `at`
    or `run_id` the reasons are about that slot or run."""

    task_group_name: str = Field(description="Group of the task")
    task_name: str = Field(description="Name of the task inside its group")
    next_slot: datetime | None = Field(description="The planned instant, null if the schedule has none left")
    due_at: datetime | None = Field(description="The same with its jitter")
    reasons: list[ExplainedReason] = Field(description="The reasons in order")
    slot: datetime | None = Field(default=None, description="The slot of `at`; null without `at`")
    verdict: SlotVerdict | None = Field(default=None, description="What became of that slot; null without `at`")
    run_id: str | None = Field(default=None, description="The run of that slot, or the one of `run_id`")
