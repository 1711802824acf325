"""Actions on tasks. One request acts on every task that matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from fastapi import APIRouter, Header, Query

from fastapi_task_manager.api.action_log import Acting, Action
from fastapi_task_manager.api.bodies import reads
from fastapi_task_manager.api.dependencies import ActionFilters, OnlyKnownParameters, given
from fastapi_task_manager.api.errors import error_responses, with_store_timeout
from fastapi_task_manager.api.responses import action_response, runs_response
from fastapi_task_manager.observers.logs import logger_of
from fastapi_task_manager.schema.task import TaskActionResponse, TaskRunsResponse, TriggerRequest
from task_manager_core.application.control import Control, Selection
from task_manager_core.domain.errors import NothingMatches
from task_manager_core.domain.identity import TaskKey
from task_manager_core.ports import REPEAT_MEMORY, REQUEST_MEMORY, Cancelling, Enqueued

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management

NO_MATCH = error_responses({404: "No task matches."})
LONGEST_REQUEST_ID = 255


def matching(control: Control, selection: Selection, action: Action) -> list[TaskKey]:
    """The tasks that match; the action names them in its log line. Errors: NothingMatches."""
    keys = [stored.definition.key for stored in control.select(selection)]
    if not keys:
        raise NothingMatches("task", given(selection))
    action.concerns(keys)
    return keys


def add_action_routes(router: APIRouter, manager: Management) -> None:
    """POST /tasks/disable, /enable, /trigger, /cancel, /reset-retry and DELETE /tasks/statistics."""

    @router.post("/tasks/disable", dependencies=[OnlyKnownParameters], responses=NO_MATCH)
    @with_store_timeout
    async def disable(selection: ActionFilters, action: Acting) -> TaskActionResponse:
        """Stop dispatching these tasks until they are enabled, however long that takes."""
        control = manager.control
        return action_response(await control.pause(matching(control, selection, action)))

    @router.post("/tasks/enable", dependencies=[OnlyKnownParameters], responses=NO_MATCH)
    @with_store_timeout
    async def enable(selection: ActionFilters, action: Acting) -> TaskActionResponse:
        """Dispatch these tasks again, from their next slot on."""
        control = manager.control
        return action_response(await control.resume(matching(control, selection, action)))

    @router.post("/tasks/reset-retry", dependencies=[OnlyKnownParameters], responses=NO_MATCH)
    @with_store_timeout
    async def reset_retry(selection: ActionFilters, action: Acting) -> TaskActionResponse:
        """End backoffs: waiting retries run now."""
        control = manager.control
        keys = matching(control, selection, action)
        await control.reset_retry(keys)
        return action_response(keys)

    @router.delete("/tasks/statistics", dependencies=[OnlyKnownParameters], responses=NO_MATCH)
    @with_store_timeout
    async def clear_statistics(selection: ActionFilters, action: Acting) -> TaskActionResponse:
        """Forget the history of these tasks."""
        control = manager.control
        cleared = await control.clear(matching(control, selection, action))
        logger_of("statistics").info("cleared the history of %d tasks", len(cleared))
        return action_response(cleared)

    @router.post(
        "/tasks/trigger",
        dependencies=[OnlyKnownParameters],
        responses=error_responses(
            {
                400: "A function does not accept the arguments.",
                404: "No task matches.",
                409: "The Idempotency-Key is that of a request with other arguments.",
            }
        ),
    )
    @reads(TriggerRequest, optional=True)
    @with_store_timeout
    async def trigger(
        body: TriggerRequest | None,
        selection: ActionFilters,
        action: Acting,
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=LONGEST_REQUEST_ID,
                description="Repeating a request with the same key within a day starts nothing again; other arguments "
                "under the same key are refused",
            ),
        ] = None,
    ) -> TaskRunsResponse:
        """Run these tasks now, whatever their schedule says, and end their backoff."""
        control = manager.control
        request, memory = (uuid4().hex, REPEAT_MEMORY) if idempotency_key is None else (idempotency_key, REQUEST_MEMORY)
        kwargs = None if body is None else body.kwargs
        triggered = await control.trigger(matching(control, selection, action), request, kwargs, memory)
        known = [one for one in triggered if one.enqueued is not Enqueued.UNKNOWN_TASK]
        return runs_response((one.key, one.run.value, one.enqueued.value) for one in known)

    @router.post(
        "/tasks/cancel",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({404: "No task matches, or none has this run."}),
    )
    @with_store_timeout
    async def cancel(
        selection: ActionFilters,
        action: Acting,
        run_id: Annotated[str | None, Query(description="Only this run; default: every live run")] = None,
    ) -> TaskRunsResponse:
        """Cancel live runs. A running one is interrupted with its worker's next heartbeat."""
        control = manager.control
        matching(control, selection, action)
        statuses, _ = await control.list_tasks(control.select(selection))
        live = [(one.view.key, run.run) for one in statuses for run in one.view.live if run_id in (None, run.run.value)]
        if run_id is not None and not live:
            raise NothingMatches("live run", {"run_id": run_id, **given(selection)})
        action.concerns({key for key, _ in live})
        answers = await control.cancel(live)
        cancelled = [pair for pair in zip(live, answers, strict=True) if pair[1] is not Cancelling.NOT_LIVE]
        return runs_response((key, run.value, answer.value) for (key, run), answer in cancelled)
