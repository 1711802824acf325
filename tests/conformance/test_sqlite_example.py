"""The example of a backend keeps every law, answers like the memory store, and is shared by processes."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from sqlite_backend import open_backend, open_file
from task_manager_core.domain.errors import BackendMisconfigured, BackendUnavailable
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Retention
from task_manager_core.testing import ManualClock
from task_manager_core.testing.conformance.factories import definition, key, run, runs, task
from task_manager_core.testing.conformance.laws import laws_of
from test_sqlite_backend import TestSqlite, TestSqliteAgainstMemory
from tests.waiting import wait_until_async

__all__ = ["TestSqlite", "TestSqliteAgainstMemory"]
"""The tests on the page about writing a store. pytest finds them through this import."""

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NOTHING = timedelta(0)


def test_the_documented_command_judges_it(tmp_path: Path) -> None:
    """Run the suite in its own process and in the folder of the examples. `TestSqlite` judges every law."""
    suite = "task_manager_core.testing.conformance"
    # The first option loads what the entry point of an installed distribution loads: the installation may be older.
    plugin = ("-p", f"{suite}.plugin", "-p", "no:valkey", "-p", "no:cacheprovider", "-k", "leadership or backend_1.")
    judged = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "--pyargs", suite, "--backend=sqlite_backend:open_backend"],
        cwd=EXAMPLES,
        env=os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    _, _, summary = judged.stdout.partition("laws of TestBackend")
    assert summary.count("  ✓ ") == len(laws_of("leadership")) + 1, judged.stdout
    assert "  ✗ " not in summary


async def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    open_here = partial(open_file, tmp_path / "tasks", clock=ManualClock(), retention=Retention())
    async with open_here() as backend:
        await backend.catalogue.put([definition(task())])
        await backend.queue.enqueue([run(task())])
        [claim] = await backend.queue.claim(NodeId("worker"), 10, NOTHING)
    async with open_here() as backend:
        changes = await backend.catalogue.load(0)
        assert changes is not None
        assert [stored.definition for stored in changes.changed] == [task()]
        assert await backend.queue.claim(NodeId("worker"), 10, NOTHING, known=()) == (claim,)


async def test_an_unreadable_definition_hides_no_other(tmp_path: Path) -> None:
    async with open_file(tmp_path / "tasks", clock=ManualClock(), retention=Retention()) as backend:
        await backend.catalogue.put([definition(task("newer")), definition(task("known"))])
        with closing(sqlite3.connect(tmp_path / "tasks", isolation_level=None)) as other:
            other.execute("""UPDATE tasks SET definition = '{"v": 1000}' WHERE name = 'newer'""")
        changes = await backend.catalogue.load(0)
        assert changes is not None
        assert [stored.definition for stored in changes.changed] == [task("known")]
        assert (changes.unreadable, len(changes.keys)) == (frozenset({key("newer")}), 2)


CLAIM_EVERYTHING = """
import asyncio, json, sys
from datetime import timedelta
from fastapi_task_manager.container import SystemClock
from sqlite_backend import open_file
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.policy import Retention

async def work(file, name):
    async with open_file(file, clock=SystemClock(), retention=Retention()) as backend:
        bid = await backend.leadership.campaign(NodeId(name), timedelta(hours=1))
        claimed = []
        while claims := await backend.queue.claim(NodeId(name), 1, timedelta(0)):
            claimed += [claim.run.id.value for claim in claims]
        print(json.dumps({"leads": isinstance(bid, Term), "claimed": claimed}))

asyncio.run(work(*sys.argv[1:]))
"""


async def test_processes_share_the_runs_of_one_file(tmp_path: Path) -> None:
    file = tmp_path / "tasks"
    queued = runs(task(), 90)
    async with open_file(file, clock=ManualClock(), retention=Retention()) as backend:
        await backend.catalogue.put([definition(task())])
        await backend.queue.enqueue(queued)
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CLAIM_EVERYTHING, str(file), name),
                env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
                stdout=subprocess.PIPE,
            )
            for name in ("one", "two", "three")
        ]
        answers = [json.loads((await process.communicate())[0]) for process in processes]
    claimed = [name for answer in answers for name in answer["claimed"]]
    assert sorted(claimed) == sorted(one.id.value for one in queued)
    assert sum(answer["leads"] for answer in answers) == 1


async def test_a_store_that_is_away_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "not yet"
    async with open_file(folder / "tasks", clock=ManualClock(), retention=Retention()) as backend:
        with pytest.raises(BackendUnavailable):
            await backend.catalogue.load(0)
        folder.mkdir()
        assert await backend.catalogue.load(0) is None


async def test_a_verb_that_cannot_get_the_file_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite_file.LOCK_TIMEOUT", 0.01)
    async with open_file(tmp_path / "tasks", clock=ManualClock(), retention=Retention()) as backend:
        await backend.catalogue.put([definition(task())])
        with closing(sqlite3.connect(tmp_path / "tasks", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendUnavailable):
                await backend.queue.enqueue([run(task())])
        assert (await backend.history.snapshot()).queued == 0


async def test_a_file_that_is_no_database_is_misconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letter").write_text("Dear reader, " * 100)
    monkeypatch.setenv("TASKS_FILE", str(tmp_path / "letter"))
    async with open_backend(clock=ManualClock(), retention=Retention()) as backend:
        with pytest.raises(BackendMisconfigured):
            await backend.catalogue.load(0)


async def test_an_application_runs_on_it(tmp_path: Path) -> None:
    done: list[int] = []
    group = TaskGroup("Reports")
    group.add_task(interval=1, name="count", run_on_start=True)(lambda: done.append(1))
    app = FastAPI()
    backend = partial(open_file, tmp_path / "tasks")
    manager = TaskManager(app, OperationalConfig(poll_interval=0.02, refresh_interval=0.05), backend=backend)
    manager.add_task_group(group)
    async with app.router.lifespan_context(app):
        await wait_until_async(lambda: done, "the task has run")
        assert await manager.is_healthy()
