"""The command line `task-manager`: its arguments, its targets and its probes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from fastapi_task_manager import OperationalConfig, TaskManager
from fastapi_task_manager.cli.main import command_line, main
from fastapi_task_manager.cli.options import WorkerOptions
from fastapi_task_manager.cli.probes import Probe, Probes, ask_file, ask_port
from fastapi_task_manager.cli.reload import next_change
from fastapi_task_manager.cli.status import Status, joined, starting, write_file
from fastapi_task_manager.cli.supervisor import arguments_of
from fastapi_task_manager.cli.target import BadTarget, Target, load_target
from fastapi_task_manager.cli.worker import apply_options
from task_manager_memory import MemoryStore
from tests.redis_server import free_port

READY = Status(live=True, ready=True)

APPLICATION = """
from fastapi import FastAPI
from fastapi_task_manager import OperationalConfig, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
bare = FastAPI()
number = 5

def factory():
    return manager

async def later():
    return app

def picky(argument):
    return manager
"""


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ("worker", ("TARGET",)),
        ("worker tasks", ("TARGET", "module:manager", "'tasks'")),
        ("worker tasks:", ("TARGET", "module:manager")),
        ("worker tasks.py:manager:x", ("TARGET", "module:manager")),
        ("worker ./a:b", ("TARGET", "module:manager")),
        ("worker a:b --processes 0", ("--processes", "1 to 256", "'0'")),
        ("worker a:b --processes many", ("--processes", "whole number")),
        ("worker a:b --concurrency 0", ("--concurrency", "1 to 100000")),
        ("worker a:b --queues=", ("--queues", "letters")),
        ("worker a:b --queues heavy,,light", ("--queues", "letters")),
        ("worker a:b --roles lead", ("--roles", "'lead'", "schedule and execute")),
        ("worker a:b --roles schedule", ("--roles", "'execute'")),
        ("worker a:b --health-port 70000", ("--health-port", "65535")),
        ("health", ("--file", "--port")),
        ("health --port 1 --file x", ("--file", "--port")),
        ("health --file x --max-age 0", ("--max-age", "'0'")),
        ("health --file x --probe dead", ("--probe", "live")),
        ("serve", ("COMMAND",)),
    ],
)
def test_a_bad_argument_is_refused_with_its_name(
    arguments: str, texts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert [text for text in texts if text not in message] == []


def test_a_supervisor_starts_children_with_its_own_options() -> None:
    options = WorkerOptions(
        target="shop.tasks:manager",
        app_dir="src",
        queues=("heavy", "mail"),
        roles=("execute",),
        concurrency=5,
        log_level="debug",
        report_to=7,
    )
    parsed = vars(command_line().parse_args([*arguments_of(options, 7)]))
    del parsed["run"]
    assert WorkerOptions(**parsed) == options
    assert not options.is_supervised


# -- targets -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module with an application, in a folder that nothing has imported from."""
    name = "an_application"
    (tmp_path / f"{name}.py").write_text(dedent(APPLICATION))
    (tmp_path / "broken_application.py").write_text("import no_such_dependency\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    for one in (name, "broken_application"):
        sys.modules.pop(one, None)


async def loaded(text: str, folder: Path) -> Target:
    return await load_target(WorkerOptions(target=text, app_dir=str(folder)))


@pytest.mark.parametrize("attribute", ["manager", "factory"])
async def test_a_target_may_be_a_manager_or_a_function_that_returns_one(
    module: str, tmp_path: Path, attribute: str
) -> None:
    target = await loaded(f"{module}:{attribute}", tmp_path)
    assert (target.managers, target.app) == ([sys.modules[module].manager], None)
    async with target.running():
        assert target.managers[0].is_running
    assert not target.managers[0].is_running


@pytest.mark.parametrize("attribute", ["app", "later"])
async def test_a_target_may_be_an_application_whose_lifespan_runs(module: str, tmp_path: Path, attribute: str) -> None:
    target = await loaded(f"{module}:{attribute}", tmp_path)
    assert target.app is sys.modules[module].app
    async with target.running():
        assert target.managers[0].is_running
    assert not target.managers[0].is_running


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such_module:manager", "there is no module 'no_such_module' in {folder} (--app-dir)"),
        ("an_application:nothing", "'an_application' has no attribute 'nothing'"),
        ("an_application:number", "an_application:number is a int: name a TaskManager"),
        ("an_application:bare", "the application an_application:bare has no task manager"),
        ("an_application:picky", "an_application:picky cannot be called without arguments"),
    ],
)
@pytest.mark.usefixtures("module")
async def test_a_target_that_names_no_manager_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadTarget) as caught:
        await loaded(text, tmp_path)
    assert message.format(folder=tmp_path) in str(caught.value)


@pytest.mark.usefixtures("module")
async def test_an_error_inside_the_module_is_shown_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        await loaded("broken_application:manager", tmp_path)


def a_manager(**settings: object) -> TaskManager:
    return TaskManager(config=OperationalConfig.model_validate(settings), backend=MemoryStore().open)


def test_the_command_line_overrides_the_configuration() -> None:
    manager = a_manager(roles=["execute"], concurrent_tasks=3)
    apply_options(Target([manager]), WorkerOptions(target="a:b", queues=("heavy",), concurrency=9))
    assert (manager.config.roles, manager.config.queues) == (["execute"], ["heavy"])
    assert manager.config.concurrent_tasks == 9
    apply_options(Target([manager]), WorkerOptions(target="a:b", roles=("schedule", "execute")))
    assert (manager.config.roles, manager.config.queues) == (["schedule", "execute"], ["heavy"])


def test_a_worker_executes_also_if_the_code_says_what_web_processes_do() -> None:
    manager = a_manager(roles=[])
    apply_options(Target([manager]), WorkerOptions(target="a:b"))
    assert manager.config.roles is None


# -- probes ------------------------------------------------------------------------------------------------------------


def test_a_worker_of_several_processes_is_ready_when_all_of_them_are() -> None:
    assert joined([READY, READY]).ready
    assert (joined([READY, starting()]).ready, joined([READY, starting()]).live) == (False, True)
    dead = Status(live=False, ready=False, reason="dead")
    assert joined([starting(), READY, dead]).reason == "dead"
    assert not joined([]).ready


def test_the_health_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "health"

    def exit_code(*more: str) -> tuple[int, str]:
        return main(["health", "--file", str(file), *more]), capsys.readouterr().out.strip()

    assert exit_code() == (1, f"{file} does not exist: the worker has not started, or has ended")
    write_file(file, replace(READY, at=time.time()))
    assert exit_code() == (0, "ready")
    write_file(file, Status(live=True, ready=False, reason="stopping"))
    assert exit_code() == (1, "not ready: stopping")
    assert exit_code("--probe", "live") == (0, "live")
    write_file(file, Status(live=True, ready=True, at=time.time() - 60))
    code, text = exit_code("--probe", "live")
    assert (code, "is 60 s old (--max-age 15)" in text) == (1, True)
    assert exit_code("--max-age", "100") == (0, "ready")
    file.write_text("{}")
    assert exit_code()[0] == 1


@pytest.mark.parametrize("text", ["", "5", '{"live": 1, "ready": true, "at": 1}', '{"live": true}'])
def test_a_text_that_is_no_status_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Status"):
        Status.parse(text)
    assert Status.parse(READY.text()) == READY


async def asked(port: int, probe: Probe) -> str | None:
    return await asyncio.to_thread(ask_port, "127.0.0.1", port, probe, 5.0)


async def test_the_health_port_answers_what_is_true_now(tmp_path: Path) -> None:
    port, statuses = free_port(), [starting()]
    probes = Probes(tmp_path / "health")
    async with probes.serving(lambda: statuses[-1], "127.0.0.1", port):
        assert await asked(port, "ready") == "not ready: starting"
        assert await asked(port, "live") is None
        statuses.append(READY)
        probes.show()
        assert await asked(port, "ready") is None
        assert ask_file(tmp_path / "health", "ready", 10.0) is None
        statuses.append(Status(live=False, ready=False, reason="a service has ended"))
        assert await asked(port, "live") == "not live: a service has ended"
    assert "does not answer" in str(await asked(port, "live"))
    assert not (tmp_path / "health").exists()


async def raw(port: int, request: bytes) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head.partition("\r\n")[0], body


async def test_the_health_port_answers_nothing_else() -> None:
    port = free_port()
    async with Probes(None).serving(lambda: READY, "127.0.0.1", port):
        line, body = await raw(port, b"GET /ready?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (line, json.loads(body)["ready"]) == ("HTTP/1.1 200 OK", True)
        assert await raw(port, b"HEAD /live HTTP/1.1\r\n\r\n") == ("HTTP/1.1 200 OK", "")
        assert (await raw(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        assert (await raw(port, b"POST /live HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"
        assert await raw(port, b"x" * 10_000) == ("", "")


async def test_a_port_that_is_in_use_is_named() -> None:
    port = free_port()
    async with Probes(None).serving(lambda: READY, "127.0.0.1", port):
        with pytest.raises(OSError, match=str(port)):
            async with Probes(None).serving(lambda: READY, "127.0.0.1", port):
                pass


# -- reload ------------------------------------------------------------------------------------------------------------


async def test_a_change_of_a_source_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_task_manager.cli.reload.LOOK_SECONDS", 0.01)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    (tmp_path / ".venv").mkdir()
    (tmp_path / "tasks.py").write_text("one")
    waiting = asyncio.ensure_future(next_change(tmp_path))
    await asyncio.sleep(0.05)
    (tmp_path / ".venv/tasks.py").write_text("one")
    (tmp_path / "notes.txt").write_text("one")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    (tmp_path / "tasks.py").write_text("two")
    async with asyncio.timeout(10):
        assert await waiting == str(tmp_path / "tasks.py")
