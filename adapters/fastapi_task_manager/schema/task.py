"""Tasks, their runs and the actions on them, as the API shows them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool

from fastapi_task_manager.option_readers import MOST_CLASSES
from fastapi_task_manager.schema.answer import Answer
from fastapi_task_manager.schema.body import Body, at_most
from fastapi_task_manager.schema.numbers import Number, WholeNumber
from task_manager_core.domain.duties import DEFAULT_QUEUE
from task_manager_core.domain.recurrence import MOST_INSTANTS
from task_manager_core.domain.schedule import MOST_RULES
from task_manager_core.domain.task import MOST_TAGS


class TaskBase(Answer):
    """The fields of a task without its function. null: the group decides, then the configuration."""

    name: str = Field(description="Name of the task inside its group")
    expression: str = Field(description="The schedule in words: the cron expression, or what stands for it")
    description: str | None = Field(default=None, description="Free text")
    tags: list[str] | None = Field(default=None, description="The group's and its own")
    high_priority: bool = Field(default=False, description="Its runs are claimed before those of other tasks")
    retry_backoff: float | None = Field(default=None, description="Seconds before the first retry")
    retry_backoff_max: float | None = Field(default=None, description="Longest delay between retries in seconds")
    dynamic: bool = Field(default=False, description="Added at run time, not declared by code")
    allow_parallel: bool | None = Field(default=None, description="May several runs of the task live at once?")


class Task(TaskBase):
    """The same with its function, as applications build it; groups list `fastapi_task_manager.Task`."""

    function: Callable[..., Any] = Field(description="The function that a run calls")
    kwargs: dict[str, Any] | None = Field(default=None, description="Keyword arguments of the function")
    function_name: str | None = Field(default=None, description="The name under which the function is known")


class TaskOutcome(Answer):
    """An attempt in outline. GET /tasks/{task_group_name}/{task_name}/statistics has its message, traceback and
    result."""

    run_id: str = Field(description="Identity of the run, the same for each of its attempts")
    attempt: int = Field(description="Number of the attempt, from 1")
    slot: datetime | None = Field(default=None, description="The planned instant; null for a triggered run")
    status: Literal["succeeded", "retried", "failed", "cancelled", "lost", "expired"] = Field(
        description="How the attempt ended"
    )
    run_date: datetime = Field(description="When the attempt started, by its worker's clock")
    durations_second: float = Field(description="How long the attempt took in seconds")
    lateness: float | None = Field(
        default=None,
        description="Seconds from the due instant to the start; null for a triggered run and after the first attempt",
    )
    worker: str = Field(default="", description="Identity of the process that executed it")
    error_type: str | None = Field(
        default=None, description="Qualified name of the exception's class; null if there was none"
    )


class TaskDetailed(TaskBase):
    """A task with its state. The API fills in every policy, each default as it applies."""

    task_group_name: str = Field(description="Group of the task")
    kwargs: dict[str, Any] | None = Field(default=None, description="Keyword arguments of the function")
    function_name: str | None = Field(default=None, description="The function that a run calls")
    next_run: datetime | None = Field(
        default=None, description="When the next slot is dispatched; null when the schedule has ended"
    )
    is_active: bool = Field(
        default=True, description="false while disabled, and for a static task that no process declares"
    )
    is_running: bool = Field(default=False, description="Does a worker execute a run of it now?")
    retry_after: datetime | None = Field(
        default=None, description="When the waiting retry starts; null outside a backoff"
    )
    retry_delay: float | None = Field(
        default=None,
        description="Length of that backoff in seconds, as the task is defined now; null outside a backoff",
    )
    overlap: str = Field(default="allow", description="allow, buffer_one or skip")
    max_instances: int | None = Field(
        default=None, description="Most live runs of a task that allows overlap; null: any number"
    )
    max_retries: int | None = Field(default=None, description="null: until it succeeds")
    max_lost_attempts: int | None = Field(
        default=None, description="Attempts that may lose their worker before a run is given up; null: any number"
    )
    timeout: float | None = Field(default=None, description="Longest time of one attempt in seconds")
    start_deadline: float | None = Field(
        default=None, description="Seconds after which a due slot is skipped, and its waiting run expires; null: never"
    )
    expires: float | None = Field(
        default=None, description="Seconds after which a waiting run, also a triggered one, expires; null: never"
    )
    queue: str = Field(default=DEFAULT_QUEUE, description="The queue of its runs: processes that serve it execute them")
    is_retired: bool = Field(default=False, description="A static task that no living process declares")
    version: int = Field(default=0, description='Version of the definition, for the `If-Match: "<version>"` of a PUT')
    skipped: dict[str, int] = Field(default={}, description="How many slots were skipped for which reason")
    cron_expression: str | list[str] | None = Field(
        default=None, description="The cron expression, or several; null for a schedule of another kind"
    )
    interval: float | None = Field(default=None, description="A constant distance in seconds")
    phase: float | None = Field(default=None, description="Shift of the interval in seconds")
    run_at: list[datetime] | None = Field(default=None, description="The instants of a one-off task")
    timezone: str | None = Field(default=None, description="Zone of the cron expression; null without one")
    gap: str | None = Field(default=None, description="shift or skip: a local time that does not exist")
    fold: str | None = Field(default=None, description="first or both: a local time that happens twice")
    jitter: float = Field(default=0.0, description="Each slot is dispatched up to this many seconds later")
    start_at: datetime | None = Field(default=None, description="No slot before this instant")
    end_at: datetime | None = Field(default=None, description="No slot from this instant on")
    catch_up: str = Field(default="latest", description="latest, none or all: what runs after an outage")
    catch_up_window: float = Field(default=86400.0, description="all: slots of the last so many seconds")
    catch_up_limit: int = Field(default=100, description="all: at most so many slots")
    catch_up_grace: float = Field(default=2.0, description="A slot that is later than these seconds was missed")
    run_on_start: bool = Field(default=False, description="Run once when first seen")
    retry_on: list[str] = Field(default=[], description="Exception classes that are retried; none: all")
    no_retry_on: list[str] = Field(default=[], description="Exception classes that are not retried")
    in_words: str | None = Field(
        default=None, description="The schedule as a sentence; null for a schedule that no short sentence tells exactly"
    )
    states: list[Literal["failing", "late", "paused", "running", "waiting"]] | None = Field(
        default=None, description="How the task stands; null in a list that is not read in pages"
    )
    last_run: TaskOutcome | None = Field(
        default=None, description="The newest attempt; null before the first, and in a list that is not read in pages"
    )
    failures_in_row: int | None = Field(
        default=None,
        description="How many of the newest 40 attempts failed or lost their worker, back to the last other one; null "
        "in a list that is not read in pages",
    )
    recent: list[TaskOutcome] | None = Field(
        default=None, description="The newest attempts, at most 40, the newest first; null unless asked for"
    )


class TaskRun(Answer):
    """One attempt at a run."""

    run_date: datetime = Field(description="When the attempt started, by its worker's clock")
    durations_second: float = Field(description="How long the attempt took in seconds")
    status: Literal["succeeded", "retried", "failed", "cancelled", "lost", "expired"] = Field(
        default="succeeded",
        description="retried: failed, another attempt follows; failed: for good; lost: its worker died; expired: "
        "waited for longer than its start_deadline or expires allows, and not executed",
    )
    run_id: str = Field(default="", description="Identity of the run, the same for each of its attempts")
    attempt: int = Field(default=1, description="Number of the attempt, from 1")
    slot: datetime | None = Field(default=None, description="The planned instant; null for a triggered run")
    worker: str = Field(default="", description="Identity of the process that executed it")
    error_type: str | None = Field(
        default=None, description="Qualified name of the exception's class; null if there was none"
    )
    error_message: str | None = Field(default=None, description="Its message, at most 2,000 characters")
    error_traceback: str | None = Field(default=None, description="The end of its traceback, at most 8,000 characters")
    result: Any = Field(
        default=None, description="What the function returned; null if it is no JSON or has more than 32,768 bytes"
    )
    result_type: str | None = Field(
        default=None, description="Qualified name of the class of the result; null if the function returned None"
    )
    result_size: int | None = Field(
        default=None, description="Bytes of the result as JSON; null if it is no JSON or was too long to be converted"
    )


class LiveTaskRun(Answer):
    """A run that has not ended."""

    run_id: str = Field(description="Identity of the run, the same for each of its attempts")
    slot: datetime | None = Field(default=None, description="The planned instant; null for a triggered run")
    state: Literal["held", "queued", "running", "waiting"] = Field(
        description="held: waits for another run of its task; queued: waits for a worker; waiting: until `due_at`"
    )
    attempt: int = Field(description="Number of the attempt, from 1")
    worker: str | None = Field(default=None, description="Identity of the process that executes it")
    due_at: datetime | None = Field(default=None, description="When a waiting run is queued again")
    cancelling: bool = Field(default=False, description="Has a caller requested its cancellation?")
    done: float | None = Field(default=None, description="How much is done, as the attempt reports it")
    total: float | None = Field(default=None, description="How much there is to do, as the attempt reports it")
    text: str | None = Field(default=None, description="What the attempt reports, up to 300 characters")
    lines: list[str] = Field(default=[], description="The newest lines that the attempt logged, at most 20")


class LiveTaskRuns(Answer):
    """The runs of a task that have not ended."""

    task_group_name: str = Field(description="Group of the task")
    task_name: str = Field(description="Name of the task inside its group")
    runs: list[LiveTaskRun] = Field(description="The first runs, at most 100; the held ones come last")
    count: int = Field(description="How many live, also those that `runs` does not list")


class TaskRunDetail(Answer):
    """A run: what started it, its attempts, and what it does while it lives."""

    task_group_name: str = Field(description="Group of the task")
    task_name: str = Field(description="Name of the task inside its group")
    run_id: str = Field(description="Identity of the run, the same for each of its attempts")
    state: Literal[
        "held",
        "queued",
        "running",
        "waiting",
        "succeeded",
        "retried",
        "failed",
        "cancelled",
        "lost",
        "expired",
    ] = Field(description="The state of a live run, or how its last attempt ended")
    slot: datetime | None = Field(default=None, description="The planned instant; null for a triggered run")
    triggered_by: Literal["schedule", "request"] = Field(description="What started the run")
    live: LiveTaskRun | None = Field(default=None, description="What it does now; null once it has ended")
    attempts: list[TaskRun] = Field(default=[], description="Its attempts that have ended, the oldest first")


class SkippedSlots(Answer):
    """Neighbouring slots that were not dispatched, for one reason."""

    first: datetime = Field(description="The first of these slots")
    last: datetime = Field(description="The last of them")
    count: int = Field(description="How many they are")
    reason: str = Field(description="Why: paused, overlap, backoff, deadline, catch_up, deleted or store_lost")


class TaskStatistics(Answer):
    """What happened to a task, newest first."""

    task_group_name: str = Field(description="Group of the task")
    task_name: str = Field(description="Name of the task inside its group")
    runs: list[TaskRun] = Field(default=[], description="Attempts, the newest first")
    skipped: list[SkippedSlots] = Field(default=[], description="Skipped slots, the newest first")


class AffectedTask(Answer):
    """A task that an action took effect on."""

    task_group: str = Field(description="Group of the task")
    task: str = Field(description="Name of the task inside its group")


class TaskActionResponse(Answer):
    """What an action took effect on."""

    affected_tasks: list[AffectedTask] = Field(description="The tasks in the order of their names")
    count: int = Field(description="How many they are")


class AffectedRun(Answer):
    """A run that an action took effect on."""

    task_group: str = Field(description="Group of the task")
    task: str = Field(description="Name of the task inside its group")
    run_id: str = Field(description="Identity of the run")
    result: str = Field(
        description="trigger: queued, held (waits for another run of its task) or duplicate (this request was made "
        "before); cancel: cancelled, or requested (its worker will be told)"
    )


class TaskRunsResponse(TaskActionResponse):
    """What an action took effect on, with the runs."""

    runs: list[AffectedRun] = Field(description="The runs")


class TriggerRequest(Body):
    """Options of a trigger."""

    kwargs: dict[str, Any] | None = Field(
        default=None, description="Arguments for this one run instead of the task's; the same limits"
    )


class RegisteredFunctionInfo(Answer):
    """A function that dynamic tasks may name."""

    task_group_name: str = Field(description="Group of the function")
    function_name: str = Field(description="What a dynamic task calls it")


class RegisteredFunctionsResponse(Answer):
    """The functions that dynamic tasks may name."""

    functions: list[RegisteredFunctionInfo] = Field(description="The functions, group by group")
    count: int = Field(description="How many they are")


class _DynamicTask(Body):
    """The fields of a dynamic task in a request. Null is the default. Lengths of time are seconds."""

    cron_expression: Annotated[str | list[str] | None, at_most(MOST_RULES)] = Field(
        default=None,
        description="5 fields, or 6 with the seconds first; a list of up to 20 is a union",
        examples=["*/5 * * * *"],
    )
    interval: Number | None = Field(
        default=None, description="Instead of a cron expression: a constant distance in seconds"
    )
    phase: Number | None = Field(default=None, description="Shifts the interval, in seconds")
    run_at: Annotated[datetime | list[datetime] | None, at_most(MOST_INSTANTS)] = Field(
        default=None, description="Instead: one run at each instant, at most 1,000"
    )
    timezone: str | None = Field(default=None, description="IANA name")
    gap: Literal["shift", "skip"] | None = Field(default=None, description="A local time that does not exist")
    fold: Literal["first", "both"] | None = Field(default=None, description="A local time that happens twice")
    jitter: Number | None = Field(default=None, description="Each slot is dispatched up to this many seconds later")
    start_at: datetime | None = Field(default=None, description="No slot before this instant")
    end_at: datetime | None = Field(default=None, description="No slot from this instant on")
    kwargs: dict[str, Any] | None = Field(
        default=None, description="Keyword arguments of the function, up to 100,000 characters and 64 levels"
    )
    description: str | None = Field(default=None, description="Free text, up to 10,000 characters")
    high_priority: StrictBool | None = Field(default=None, description="Claim its runs before those of other tasks")
    tags: Annotated[list[str] | None, at_most(MOST_TAGS)] = Field(
        default=None, description="In addition to the group's; at most 100 with them"
    )
    retry_backoff: Number | None = Field(default=None, description="Seconds before the first retry")
    retry_backoff_max: Number | None = Field(default=None, description="Longest delay between retries in seconds")
    allow_parallel: StrictBool | None = Field(default=None, description="May several runs of the task live at once?")
    overlap: Literal["allow", "buffer_one", "skip"] | None = Field(default=None, description="Finer: what happens then")
    max_instances: WholeNumber | None = Field(
        default=None, description="Most live runs of a task that allows overlap; one more slot is skipped"
    )
    catch_up: Literal["latest", "none", "all"] | None = Field(default=None, description="What runs after an outage")
    run_on_start: StrictBool | None = Field(default=None, description="Run once when first seen")
    max_retries: WholeNumber | None = Field(
        default=None, description="Retries before a run is given up; default: the configuration's"
    )
    max_lost_attempts: WholeNumber | None = Field(
        default=None,
        description="Attempts that may lose their worker before a run is given up; default: the configuration's",
    )
    retry_on: Annotated[list[str] | None, at_most(MOST_CLASSES)] = Field(
        default=None, description="Qualified names of exception classes"
    )
    no_retry_on: Annotated[list[str] | None, at_most(MOST_CLASSES)] = Field(default=None, description="The same; wins")
    timeout: Number | None = Field(default=None, description="Longest time of one attempt in seconds")
    start_deadline: Number | None = Field(
        default=None,
        description="Slots that are later than these seconds are skipped; their runs that wait longer expire",
    )
    expires: Number | None = Field(
        default=None,
        description="Runs, also triggered ones, that wait for more than these seconds expire and are not executed",
    )
    queue: str | None = Field(
        default=None, description="The queue of its runs: processes that serve it execute them; default: default"
    )

    def given(self) -> dict[str, Any]:
        """The fields that the request contains."""
        return self.model_dump(exclude_unset=True)


class CreateDynamicTaskRequest(_DynamicTask):
    """A new dynamic task: exactly one of cron_expression, interval and run_at."""

    task_group_name: str = Field(description="A group of the application")
    function_name: str = Field(description="A function that the group registers")
    name: str | None = Field(default=None, description="Default: the function's name and a suffix")
    if_exists: Literal["refuse", "keep", "replace"] = Field(
        default="refuse",
        description="What to do if a dynamic task of this name exists: refuse the request, keep the task as it is, or "
        "replace its definition",
    )

    def given(self) -> dict[str, Any]:
        fields = self.model_dump(exclude_unset=True, exclude_none=True)
        return {"group_name" if field == "task_group_name" else field: value for field, value in fields.items()}


class ChangeDynamicTaskRequest(_DynamicTask):
    """What shall be different about a dynamic task. What is left out stays; null is the default again."""

    function_name: str | None = Field(default=None, description="Another function that the group registers")

    def given(self) -> dict[str, Any]:
        fields = self.model_dump(exclude_unset=True)
        if fields.get("function_name", "") is None:
            del fields["function_name"]
        return fields


class DynamicTaskResponse(Answer):
    """A dynamic task: as it stands, or as it stood until it was removed."""

    task_group_name: str = Field(description="Group of the task")
    task_name: str = Field(description="Name of the task inside its group")
    function_name: str = Field(description="The function that a run calls")
    cron_expression: str = Field(description="The schedule in words: the cron expression, or what stands for it")
    kwargs: dict[str, Any] | None = Field(default=None, description="Keyword arguments of the function")
    dynamic: bool = Field(default=True, description="false for a retired static task that was removed")
