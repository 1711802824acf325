"""The code on a page is part of a program that runs, and its commands have the answers that the page shows."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.docs.curl import ANYTHING, Request, fits, requests_in
from tests.waiting import wait_until_async

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "examples"
EXAMPLES = {
    path.relative_to(FOLDER).with_suffix("").as_posix(): path.read_text() for path in sorted(FOLDER.rglob("*.py"))
}
TUTORIAL = DOCS / "tutorial/first-tasks.md"
SHOWING_CODE = [
    TUTORIAL,
    *(DOCS / f"howto/{name}.md" for name in ("dynamic-tasks", "protect-the-api", "run-on-redis", "rolling-deploys")),
    DOCS / "howto/an-application.md",
    DOCS / "howto/typed-arguments.md",
    DOCS / "howto/session-per-task.md",
    DOCS / "howto/test-your-application.md",
    DOCS / "howto/run-it-now.md",
    DOCS / "howto/results-and-progress.md",
    DOCS / "howto/callbacks.md",
    DOCS / "howto/write-a-backend.md",
]


def executed(name: str, source: str) -> Any:
    module = ModuleType(name)
    exec(compile(source, f"{name}.py", "exec", dont_inherit=True), module.__dict__)
    return module


@asynccontextmanager
async def served(module: Any) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=module.app)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        await wait_until_async(module.manager.is_healthy, "healthy")
        yield client


async def follow(requests: list[Request], client: httpx.AsyncClient) -> None:
    """Send the requests in order. A reading request is repeated until its answer is the one that the page shows."""
    for request in requests:
        if request.method == "GET":
            await wait_until_async(partial(_as_shown, request, client), request.path)
        else:
            answer = await request.sent(client)
            assert fits(answer, request.answer), (request.path, answer)


async def _as_shown(request: Request, client: httpx.AsyncClient) -> bool:
    return fits(await request.sent(client), request.answer)


@pytest.mark.parametrize("page", SHOWING_CODE, ids=lambda page: page.stem)
def test_the_code_on_a_page_is_part_of_an_example(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        code = block if block.startswith(" ") else without_imports(block)
        assert any(block in source or code in source for source in EXAMPLES.values()), block


def without_imports(block: str) -> str:
    """The code of a block after its imports."""
    begins = [
        min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        for node in ast.parse(block).body
        if not isinstance(node, ast.Import | ast.ImportFrom) and not _for_types(node)
    ]
    return "".join(block.splitlines(keepends=True)[begins[0] - 1 :]) if begins else block


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def missing_names(block: str, defined: set[str]) -> set[str]:
    """The names that a block uses and neither imports nor defines."""
    nodes = list(ast.walk(ast.parse(block)))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    bound |= {
        alias.asname or alias.name.partition(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return used - bound - defined - {*dir(builtins)}


@pytest.mark.parametrize("page", [DOCS / "howto/write-a-backend.md"], ids=lambda page: page.stem)
def test_the_code_on_a_page_imports_what_it_uses(page: Path) -> None:
    """The reader knows the names that the example defines and those that the block imports, and no others."""
    defined = {
        node.name
        for source in (EXAMPLES["sqlite_backend"], EXAMPLES["sqlite_file"])
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if block[0] != " "]
    assert len(blocks) == 4
    for block in blocks:
        assert missing_names(block, defined) == set(), block
        exec(compile(block, page.name, "exec"), dict.fromkeys(defined, object))


def test_a_missing_import_shows() -> None:
    block = (
        "from pathlib import Path\ndef f(path: Path, *, of: Clock) -> list[str]:\n    return [one for one in g(path)]\n"
    )
    assert missing_names(block, {"g"}) == {"Clock"}


async def test_the_tutorial_does_what_it_shows() -> None:
    requests = list(requests_in(TUTORIAL.read_text()))
    assert len(requests) == 8
    async with served(executed("first_tasks", EXAMPLES["first_tasks"])) as client:
        await follow(requests, client)


async def test_the_tutorial_moves_to_redis_by_two_lines(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_MANAGER_REDIS_HOST", redis_url)
    [block] = re.findall(r'```python title="on Redis"\n(.*?)```', TUTORIAL.read_text(), re.DOTALL)
    imports, manager = block.strip().split("\n\n")
    source = EXAMPLES["first_tasks"]
    for before, after in (
        (r"^from fastapi_task_manager .*\n", f"{imports}\n"),
        (r"^from task_manager_memory .*\n", ""),
        (r"^manager = .*\n", f"{manager}\n"),
    ):
        source, changes = re.subn(before, after, source, flags=re.MULTILINE)
        assert changes == 1, before
    async with served(executed("first_tasks_on_redis", source)) as client:
        [hello] = [one for one in requests_in(TUTORIAL.read_text()) if one.path.endswith("hello/statistics?limit=1")]
        await follow([hello], client)


async def test_the_page_on_dynamic_tasks_does_what_it_shows() -> None:
    module = executed("dynamic_tasks", EXAMPLES["dynamic_tasks"])
    async with served(module) as client:
        requests = list(requests_in((DOCS / "howto/dynamic-tasks.md").read_text()))
        assert [request.method for request in requests] == ["POST", "PUT", "DELETE"]
        await follow(requests, client)

        async def names() -> list[str]:
            tasks = (await client.get("/task-manager/tasks")).json()
            return sorted(f"{task['name']} {task['expression']}" for task in tasks)

        await wait_until_async(names, "written")
        assert (await client.post("/subscriptions/ada")).is_success
        assert await names() == ["board 0 6 * * MON", "to ada 0 7 * * *"]
        assert (await client.put("/subscriptions/ada?hour=9")).is_success
        assert await names() == ["board 0 6 * * MON", "to ada 0 9 * * *"]
        assert (await client.post("/task-manager/tasks/trigger?task_name=to ada")).is_success
        await wait_until_async(lambda: module.sent, "sent")
        assert module.sent == ["ada"]
        assert (await client.delete("/subscriptions/ada")).is_success
        assert await names() == ["board 0 6 * * MON"]


async def test_the_page_on_typed_arguments_does_what_it_shows() -> None:
    page = (DOCS / "howto/typed-arguments.md").read_text()
    module = executed("typed_arguments", EXAMPLES["typed_arguments"])
    async with served(module) as client:
        await follow(list(requests_in(page)), client)
        await wait_until_async(lambda: module.sent, "sent")
        assert module.sent == ["01 March 2026, Bob, 1"]
        assert (await client.post("/customers/Eve?since=2026-04-01")).is_success
        for name in ("send_invoices", "to Eve"):
            module.sent.clear()
            assert (await client.post(f"/task-manager/tasks/trigger?task_name={name}")).is_success
            await wait_until_async(lambda: module.sent, "sent")
            assert module.sent == [
                "01 April 2026, Eve, 1" if name == "to Eve" else "01 January 2026, Ada, 1",
            ]
        kwargs = {"since": "soon", "customer": {"id": "3", "name": "Bob"}}
        path = "/task-manager/tasks/trigger?task_name=Bob"
        refused = (await client.post(path, json={"kwargs": kwargs})).json()["detail"]
        (shown,) = re.findall(r"```text\n(.*)\n```", page)
        assert shown in refused


async def test_the_page_on_sessions_does_what_it_shows(tmp_path: Path) -> None:
    module = executed("session_per_task", EXAMPLES["session_per_task"])
    module.app.dependency_overrides[module.get_database] = lambda: tmp_path / "other.sqlite"
    async with served(module) as client:

        async def runs(task: str) -> list[str]:
            history = (await client.get(f"/task-manager/tasks/Invoices/{task}/statistics")).json()["runs"]
            return [run["status"] for run in history]

        async def has_ended(task: str) -> bool:
            return "succeeded" in await runs(task)

        for task, shown in (("remind", ["succeeded", "retried"]), ("tidy", ["succeeded"])):
            assert (await client.post(f"/task-manager/tasks/trigger?task_name={task}")).is_success
            await wait_until_async(partial(has_ended, task), "it has succeeded")
            assert await runs(task) == shown
        assert (await client.get("/reminders")).json() == ["Ada"]
    assert (tmp_path / "other.sqlite").exists()
    assert not module.DATABASE.exists()


async def test_the_page_on_runs_from_code_does_what_it_shows() -> None:
    module = executed("run_it_now", EXAMPLES["run_it_now"])
    async with served(module) as client:
        run_id = (await client.post("/invoices/7")).json()
        handle = module.manager.run_handle(module.send_invoice, run_id)
        assert (await handle.wait(30)).value == (await client.get(f"/runs/{run_id}")).json() == "succeeded"
        assert module.sent == [f"invoice 7, copies: 2, in run {run_id}"]
        assert (await client.get("/runs/unknown")).status_code == 404
        paid = [(await client.post("/orders/8")).json() for _ in range(2)]
        assert paid[0] == paid[1]
        assert len(module.sent) == 2
        refused = await client.post("/orders/13")
        assert (refused.status_code, refused.json()["detail"]) == (409, "there is no invoice 13")
        assert (await client.post("/close")).json() == "succeeded"
        await module.send_invoice(module.RunContext.for_test(), 9)
        assert module.sent[-1].startswith("invoice 9, copies: 1")


async def test_a_renamed_function_is_known_by_both_names() -> None:
    async with served(executed("renamed_function", EXAMPLES["renamed_function"])) as client:
        assert (await client.post("/task-manager/tasks/trigger")).is_success
        for name in ("old", "new"):
            shown = {"runs": [{"status": "succeeded"}]}
            path = f"/task-manager/tasks/Mail/{name}/statistics"
            request = Request(method="GET", path=path, headers={}, body=None, answer=shown)
            await follow([request], client)


async def test_the_open_probe_of_a_protected_application_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGEMENT_TOKEN", "right")
    async with served(executed("protected_api", EXAMPLES["protected_api"])) as client:
        assert (await client.get("/task-manager/health")).status_code == 401
        assert (await client.get("/alive")).json() is True


def test_what_a_page_shows_is_compared() -> None:
    answer = {"count": 2, "runs": [{"id": "x", "error": None}]}
    assert fits(answer, {"runs": [{"id": ANYTHING}]})
    others: list[object] = [{"count": 3}, {"runs": []}, {"runs": [{"error": ANYTHING}]}, {"other": 1}, [answer]]
    for shown in others:
        assert not fits(answer, shown)


async def test_the_page_on_results_shows_the_result() -> None:
    module = executed("results_and_progress", EXAMPLES["results_and_progress"])
    async with served(module) as client:
        triggered = await client.post("/task-manager/tasks/trigger", params={"task_name": "import_rows"})
        assert triggered.status_code == 200

        async def result() -> object:
            answer = await client.get("/task-manager/tasks/Imports/import_rows/statistics")
            return [run["result"] for run in answer.json()["runs"]]

        await wait_until_async(result, "the run has ended")
        assert await result() == [{"rows": 3, "newest": "2026-01-01"}]


async def test_the_page_on_progress_shows_the_progress() -> None:
    module = executed("results_and_progress", EXAMPLES["results_and_progress"])
    module.manager.config.running_heartbeat_interval = 0.05
    async with served(module) as client:
        asked = {"task_name": "import_files"}
        assert (await client.post("/task-manager/tasks/trigger", params=asked)).status_code == 200

        async def shown() -> bool:
            answer = (await client.get("/task-manager/tasks/Imports/import_files/runs")).json()
            return [(run["state"], run["done"], run["text"], run["lines"]) for run in answer["runs"]] == [
                ("running", 2.0, "file 2", ["file 0 is imported", "file 1 is imported"])
            ]

        await wait_until_async(shown, "the third file is shown")


async def test_the_page_on_callbacks_calls_them() -> None:
    module = executed("callbacks", EXAMPLES["callbacks"])
    async with served(module) as client:
        for name in ("sync", "report"):
            assert (await client.post("/task-manager/tasks/trigger", params={"task_name": name})).status_code == 200
        pager = await _pager(module)
        await wait_until_async(lambda: len(pager.messages) == 2, "both are called")
        assert sorted(pager.messages) == [
            "Invoices/report succeeded",
            "Invoices/sync failed after 2 attempts: the bank does not answer",
        ]
        assert pager.is_open
    assert not pager.is_open


async def _pager(module: Any) -> Any:
    """The state of the process, as its worker keeps it."""
    return module.manager._lifecycle.running().worker._state


async def test_the_page_on_incremental_work_goes_on_where_it_ended() -> None:
    module = executed("results_and_progress", EXAMPLES["results_and_progress"])
    async with served(module) as client:

        async def results() -> list[object]:
            answer = await client.get("/task-manager/tasks/Imports/import_new_rows/statistics")
            return [run["result"] for run in answer.json()["runs"]]

        for expected in ([3], [0, 3], [1, 0, 3]):
            if len(expected) == 3:
                module.TABLE.append(4)
            await client.post("/task-manager/tasks/trigger", params={"task_name": "import_new_rows"})
            await wait_until_async(partial(_is, results, expected), f"the results are {expected}")


async def _is(read: Any, expected: object) -> bool:
    return bool(await read() == expected)
