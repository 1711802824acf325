"""Why a task runs when it does, what became of a slot, how far a run has come."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from fastapi_task_manager.api.dependencies import KeyInPath, OnlyKnownParameters
from fastapi_task_manager.api.errors import error_responses, with_store_timeout
from fastapi_task_manager.api.responses import explanation_response, slot_explanation_response
from fastapi_task_manager.schema.explanation import TaskExplanation
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.identity import RunId

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management


def add_explain_route(router: APIRouter, manager: Management) -> None:
    """GET the explanation of a task, of a slot or of a run."""

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/explain",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({400: "A value is refused; `field` names it.", 404: "There is no such task or run."}),
    )
    @with_store_timeout
    async def explain(
        key: KeyInPath,
        at: Annotated[
            datetime | None,
            Query(description="Explain this slot, also one of the past: its instant, with an offset"),
        ] = None,
        run_id: Annotated[str | None, Query(description="Explain this run")] = None,
    ) -> TaskExplanation:
        """Why the task runs next when it does, or does not run. With `at`: what was decided about a slot, and why. With
        `run_id`: how far a run has come."""
        control = manager.control
        if at is not None and run_id is not None:
            raise InvalidPolicy("run_id", run_id, "is another question than at: ask one of them")
        if at is not None:
            return slot_explanation_response(key, await control.inspection.explain_slot(key, at))
        if run_id is not None:
            answer = explanation_response(key, await control.inspection.explain_run(key, RunId(run_id)))
            return answer.model_copy(update={"run_id": run_id})
        return explanation_response(key, await control.explain(key))
