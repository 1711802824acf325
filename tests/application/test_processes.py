"""Functions in processes of their own: they are killed at their timeout, may crash, and harm nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from task_manager_core.application.failure import ProcessCrashed, RaisedInProcess, RunTimedOut, class_names, failure_of
from task_manager_core.application.process_call import ProcessTarget, Raised, Returned
from task_manager_core.application.processes import ProcessCall, ProcessPool
from task_manager_core.application.result import plain_json
from tests.application.process_functions import (
    OddError,
    adds,
    computes,
    ends_its_process,
    exits,
    fails,
    fails_oddly,
    is_running,
    knows_its_process,
    length_of,
    raises_a_signal,
)
from tests.waiting import wait_until

SOON = 60.0
"""Seconds. To start a process takes long on a busy machine."""


@pytest.fixture(name="pool", scope="module")
def a_pool() -> Iterator[ProcessPool]:
    pool = ProcessPool(plain_json, 2)
    yield pool
    pool.close()
    assert pool.children == frozenset()


def call(
    pool: ProcessPool, function: Callable[..., object], limit: float | None = SOON, **arguments: object
) -> Returned | Raised:
    return ProcessCall(pool, ProcessTarget.of(function).request(arguments)).execute(limit)


def value(answer: Returned | Raised) -> str | None:
    assert isinstance(answer, Returned), answer
    return None if answer.result is None else answer.result.json


def test_a_process_is_used_again_and_is_another_one_than_this(pool: ProcessPool) -> None:
    pids = {value(call(pool, knows_its_process)) for _ in range(5)}
    assert len(pids) == 1
    assert pids != {str(os.getpid())}


def test_arguments_and_results_travel(pool: ProcessPool) -> None:
    assert value(call(pool, adds, one=timedelta(seconds=1), other=timedelta(seconds=2))) == "3.0"


def test_long_arguments_travel(pool: ProcessPool) -> None:
    """Longer than what a pipe holds, also to a process that has just started."""
    for child in pool.children:
        child.kill()
        wait_until(lambda child=child: not child.is_alive, "the process is dead", SOON)  # type: ignore[misc]
    assert value(call(pool, length_of, text="x" * 1_000_000)) == "1000000"


def test_an_exception_keeps_its_class_and_shows_the_traceback_of_the_process(pool: ProcessPool) -> None:
    answer = call(pool, fails, text="on purpose")
    assert isinstance(answer, Raised)
    error = answer.error()
    assert isinstance(error, KeyError)
    assert "builtins.LookupError" in class_names(error)
    failure = failure_of(error)
    assert (failure.type, failure.message) == ("KeyError", "'on purpose'")
    assert "in fails" in failure.traceback


def test_an_exception_that_cannot_travel_keeps_its_names(pool: ProcessPool) -> None:
    answer = call(pool, fails_oddly)
    assert isinstance(answer, Raised)
    error = answer.error()
    assert isinstance(error, RaisedInProcess)
    assert f"{OddError.__module__}.OddError" in class_names(error)
    assert failure_of(error).type == f"{OddError.__module__}.OddError"


def test_an_exit_of_the_function_is_its_failure(pool: ProcessPool) -> None:
    before = value(call(pool, knows_its_process))
    answer = call(pool, exits)
    assert isinstance(answer, Raised)
    assert isinstance(answer.error(), SystemExit)
    assert value(call(pool, knows_its_process)) == before, "the process lives on"


def test_a_call_is_killed_at_its_timeout(pool: ProcessPool) -> None:
    with pytest.raises(RunTimedOut, match=r"timed out within .* its process was killed"):
        call(pool, computes, 0.1, seconds=SOON)
    assert value(call(pool, adds, one=1, other=2)) == "3"


@pytest.mark.parametrize(
    ("crash", "how"),
    [
        (ends_its_process, "its process ended with the exit code 7"),
        (raises_a_signal, "its process was killed by SIGSEGV"),
    ],
)
def test_a_crash_names_its_exit_and_harms_no_other_call(
    pool: ProcessPool, crash: Callable[..., object], how: str
) -> None:
    with pytest.raises(ProcessCrashed, match=how):
        call(pool, crash)
    assert value(call(pool, adds, one=1, other=2)) == "3"


def test_a_process_that_died_while_it_was_idle_gets_no_call(pool: ProcessPool) -> None:
    pid = int(value(call(pool, knows_its_process)) or "0")
    [child] = [one for one in pool.children if one.pid == pid]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not child.is_alive, "the process is dead", SOON)
    assert value(call(pool, adds, one=1, other=2)) == "3"


PARENT = """
import os, sys, threading, time
from task_manager_core.application.processes import ProcessCall, ProcessPool
from task_manager_core.application.process_call import ProcessTarget
from task_manager_core.application.result import plain_json
from tests.application.process_functions import computes, knows_its_process

if __name__ == "__main__":
    pool = ProcessPool(plain_json, 2)
    busy = ProcessCall(pool, ProcessTarget.of(computes).request({"seconds": 600, "file": sys.argv[1]}))
    threading.Thread(target=busy.execute, args=(None,), daemon=True).start()
    idle = ProcessCall(pool, ProcessTarget.of(knows_its_process).request({}))
    print(idle.execute(None).result.json, flush=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    print(open(sys.argv[1]).read(), flush=True)
    if sys.argv[2] == "waits":
        time.sleep(600)
"""


@pytest.mark.parametrize("end", ["killed", "ends"])
def test_no_process_outlives_its_parent(tmp_path: Path, end: str) -> None:
    """Neither an idle one nor one that computes: after kill -9 of the parent, and after its normal end."""
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    command = [sys.executable, str(program), str(tmp_path / "pid"), "waits" if end == "killed" else ""]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()), int(parent.stdout.readline())]
        if end == "killed":
            parent.kill()
        wait_until(lambda: not any(map(is_running, pids)), f"the processes {pids} have ended", SOON)
    assert parent.returncode == (-signal.SIGKILL if end == "killed" else 0)
