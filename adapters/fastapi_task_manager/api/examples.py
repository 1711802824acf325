"""The examples of bodies and answers that `/docs` shows, by route."""

from __future__ import annotations

from typing import Any

from fastapi_task_manager.config import OperationalConfig

_NAMED = {"task_group_name": "Reports", "task_name": "nightly"}
_TASK = {"task_group": "Reports", "task": "nightly"}
_RUN_ID = "5b1c0a9e6f3d4c2b8a7e1d0f9c8b7a6e"
_WORKER = "fastapi-task-manager@web-1:4711:0a1b2c3d4e5f"
_SLOT = "2026-03-02T05:00:00Z"
_ADDED = {
    "task_group_name": "Reports",
    "task_name": "ada",
    "function_name": "send_report",
    "cron_expression": "0 7 * * MON-FRI",
    "kwargs": {"recipient": "ada@example.org"},
    "dynamic": True,
}
_AFFECTED = {"affected_tasks": [_TASK], "count": 1}
_UPCOMING = {
    "upcoming": [
        {"utc": "2026-03-27T06:00:00Z", "local": "2026-03-27T07:00:00+01:00", "note": None},
        {"utc": "2026-03-30T05:00:00Z", "local": "2026-03-30T07:00:00+02:00", "note": None},
    ]
}

_OUTCOME = {
    "run_id": _RUN_ID,
    "attempt": 1,
    "slot": _SLOT,
    "status": "failed",
    "run_date": "2026-03-02T05:00:00.120Z",
    "durations_second": 0.25,
    "lateness": 0.12,
    "worker": _WORKER,
    "error_type": "ConnectionError",
}
_TASK_DETAILED = {
    "task_group_name": "Reports",
    "name": "nightly",
    "description": "Sends the report of the day.",
    "tags": ["reports"],
    "expression": "0 6 * * *",
    "retry_backoff": 1.0,
    "retry_backoff_max": 60.0,
    "allow_parallel": True,
    "kwargs": {},
    "function_name": "nightly",
    "next_run": "2026-03-03T05:00:00Z",
    "max_retries": 3,
    "max_lost_attempts": 5,
    "version": 1774000000000,
    "skipped": {"paused": 2},
    "cron_expression": "0 6 * * *",
    "timezone": "Europe/Rome",
    "gap": "shift",
    "fold": "first",
    "in_words": "At 06:00 every day (Europe/Rome)",
    "states": ["failing"],
    "last_run": _OUTCOME,
    "failures_in_row": 1,
}

ANSWERS: dict[str, Any] = {
    "GET /health": {
        "status": "healthy",
        "redis_connected": True,
        "worker_id": _WORKER,
        "worker_started_at": "2026-03-01T18:30:00Z",
        "is_leader": True,
        "reason": None,
    },
    "GET /config": OperationalConfig.model_construct(redis_key_prefix="shop").model_dump(mode="json"),
    "GET /cluster": {
        "now": "2026-03-02T05:00:02Z",
        "leader": {"node": _WORKER, "token": 1774000000000, "remaining": 8.1},
        "nodes": [
            {
                "node": _WORKER,
                "service": "fastapi-task-manager",
                "started_at": "2026-03-01T18:30:00Z",
                "is_leader": True,
                "roles": ["execute", "schedule"],
                "queues": None,
                "tasks": 2,
                "functions": 1,
                "overran": [],
            }
        ],
        "unreadable": [],
        "queued": 0,
        "first_due": "2026-03-03T05:00:00Z",
        "store": {"name": "redis", "durable": True},
    },
    "GET /agenda": {
        "start": "2026-03-02T00:00:00Z",
        "end": "2026-03-03T00:00:00Z",
        "bucket": 3600.0,
        "buckets": [{"start": _SLOT, "count": 1}],
        "slots": [{**_NAMED, "slot": _SLOT, "local": "2026-03-02T06:00:00+01:00", "note": None}],
        "count": 1,
        "stopped_at": None,
    },
    "GET /task-groups": [{"name": "Reports", "tags": ["reports"], "allow_parallel": None, "task_count": 2}],
    "GET /functions": {"functions": [{"task_group_name": "Reports", "function_name": "send_report"}], "count": 1},
    "GET /tasks": [_TASK_DETAILED],
    "GET /tasks/{task_group_name}/{task_name}": _TASK_DETAILED | {"recent": [_OUTCOME]},
    "POST /tasks": _ADDED,
    "PATCH /tasks/{task_group_name}/{task_name}": _ADDED | {"cron_expression": "0 8 * * MON-FRI"},
    "PUT /tasks/{task_group_name}/{task_name}": _ADDED | {"cron_expression": "0 8 * * MON-FRI"},
    "DELETE /tasks": _ADDED,
    "GET /tasks/{task_group_name}/{task_name}/statistics": {
        **_NAMED,
        "runs": [
            {
                "run_date": "2026-03-02T05:00:01Z",
                "durations_second": 0.25,
                "status": "succeeded",
                "run_id": _RUN_ID,
                "attempt": 2,
                "slot": _SLOT,
                "worker": _WORKER,
            },
            {
                "run_date": _SLOT,
                "durations_second": 0.01,
                "status": "retried",
                "run_id": _RUN_ID,
                "attempt": 1,
                "slot": _SLOT,
                "worker": _WORKER,
                "error_type": "builtins.ConnectionError",
                "error_message": "no mail server",
                "error_traceback": "Traceback (most recent call last): …",
            },
        ],
        "skipped": [{"first": "2026-02-27T05:00:00Z", "last": "2026-02-28T05:00:00Z", "count": 2, "reason": "paused"}],
    },
    "GET /tasks/{task_group_name}/{task_name}/runs": {
        **_NAMED,
        "runs": [
            {
                "run_id": _RUN_ID,
                "slot": _SLOT,
                "state": "running",
                "attempt": 1,
                "worker": _WORKER,
                "done": 300,
                "total": 1200,
                "text": "importing invoices",
            }
        ],
        "count": 1,
    },
    "GET /tasks/{task_group_name}/{task_name}/runs/{run_id}": {
        **_NAMED,
        "run_id": _RUN_ID,
        "state": "succeeded",
        "slot": _SLOT,
        "triggered_by": "schedule",
        "attempts": [
            {
                "run_date": "2026-03-02T05:00:01Z",
                "durations_second": 0.25,
                "status": "succeeded",
                "run_id": _RUN_ID,
                "attempt": 1,
                "slot": _SLOT,
                "worker": _WORKER,
            }
        ],
    },
    "GET /tasks/{task_group_name}/{task_name}/explain": {
        **_NAMED,
        "next_slot": _SLOT,
        "due_at": _SLOT,
        "reasons": [{"code": "disabled", "text": "the task is disabled: its slots are skipped until it is enabled"}],
    },
    "GET /tasks/{task_group_name}/{task_name}/upcoming": _UPCOMING,
    "POST /schedules/preview": _UPCOMING,
    "POST /tasks/disable": _AFFECTED,
    "POST /tasks/enable": _AFFECTED,
    "POST /tasks/reset-retry": _AFFECTED,
    "DELETE /tasks/statistics": _AFFECTED,
    "POST /tasks/trigger": _AFFECTED | {"runs": [_TASK | {"run_id": _RUN_ID, "result": "queued"}]},
    "POST /tasks/cancel": _AFFECTED | {"runs": [_TASK | {"run_id": _RUN_ID, "result": "requested"}]},
}

BODIES: dict[str, Any] = {
    "POST /tasks": {
        "task_group_name": "Reports",
        "function_name": "send_report",
        "name": "ada",
        "cron_expression": "0 7 * * MON-FRI",
        "timezone": "Europe/Rome",
        "kwargs": {"recipient": "ada@example.org"},
        "max_retries": 3,
    },
    "PATCH /tasks/{task_group_name}/{task_name}": {"cron_expression": "0 8 * * MON-FRI"},
    "PUT /tasks/{task_group_name}/{task_name}": {"cron_expression": "0 8 * * MON-FRI"},
    "POST /tasks/trigger": {"kwargs": {"recipient": "bob@example.org"}},
    "POST /schedules/preview": {"cron_expression": "0 7 * * MON-FRI", "timezone": "Europe/Rome", "count": 2},
}


def name_of_route(method: str, path: str) -> str:
    """The name of a route in these tables: its method, and its path as the OpenAPI document shows it."""
    return f"{method} {path.replace(':path}', '}')}"


def answer_with_example(route: str, responses: dict[int | str, Any]) -> dict[int | str, Any]:
    """The responses of a route, with the example of its answer."""
    if route not in ANSWERS:
        return responses
    content = {"application/json": {"example": ANSWERS[route]}}
    return {200: {"description": "Successful Response", "content": content}} | responses


def body_with_example(route: str, body: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document of a body, with its example."""
    if route not in BODIES:
        return body
    content = {name: {**one, "example": BODIES[route]} for name, one in body["content"].items()}
    return {**body, "content": content}
