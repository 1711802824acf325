"""The suite finds broken laws, and its output says which."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.conformance import clock_harness
from task_manager_core.testing.conformance.cli_target import opener
from task_manager_core.testing.conformance.model import compare
from task_manager_core.testing.conformance.plugin import LawResult, verdict_of
from task_manager_core.testing.conformance.sequences import random_steps
from task_manager_core.testing.conformance.store import Store
from task_manager_memory import open_backend
from tests.testing.broken import BROKEN
from tests.testing.broken.judging import failures
from tests.testing.broken_stores import backwards

ROOT = Path(__file__).parent.parent.parent


def in_folder(folder: Path, named: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        opener(named)


def judge(folder: Path, backend: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The output for the author of a store, in a project without any configuration."""
    command = [sys.executable, "-m", "task_manager_core.testing.conformance", backend, "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "docs" / "examples")])}
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_summary_names_the_laws_that_hold_the_broken_and_those_not_judged(tmp_path: Path) -> None:
    ran = judge(tmp_path, "tests.testing.broken_stores:generous", "-k", "term or token or lease or membership")
    lines = [line.strip() for line in ran.stdout.splitlines()]
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "laws of TestBackend" in ran.stdout
    at = lines.index("✗ 1. While a lease lives, no other node is granted a term, unless that node deposes the leader.")
    assert "test_one_term_at_a_time" in lines[at + 1]
    assert "– 2. Tokens strictly increase, also after a lease ended, was resigned, or the store was wiped." in lines, (
        "a law that was skipped is not one that holds"
    )
    assert "✓ 4. A renewal by the live term extends the lease to now + ttl." not in lines
    assert "✓ 2. The last announcement of a node replaces its earlier ones." in lines


def test_a_store_whose_names_collide_turns_a_law_red(tmp_path: Path) -> None:
    ran = judge(tmp_path, "tests.testing.broken.colliding:sqlite", "-k", "backend_1. or membership")
    lines = [line.strip() for line in ran.stdout.splitlines()]
    assert ran.returncode == 1, ran.stdout + ran.stderr
    at = lines.index("✗ 1. Two tasks or two nodes whose names differ share nothing, however alike they look.")
    assert lines[at + 1].startswith("test_tasks_whose_names_look_alike_share_nothing")
    assert "✓ 2. The last announcement of a node replaces its earlier ones." in lines


def test_leadership_is_judged_before_anything_else_is_written(tmp_path: Path) -> None:
    ran = judge(tmp_path, "tests.testing.broken_stores:only_leadership", "-k", "leadership")
    _, _, judged = ran.stdout.partition("\nleadership\n")
    lines = [line.split() for line in judged.partition("\ncatalogue\n")[0].splitlines()]
    passed = [line[1] for line in lines if line[0] == "✓"]
    # The laws of a deposition need tasks that are due.
    assert passed[:8] == [f"{number}." for number in range(1, 9)], ran.stdout + ran.stderr


async def test_a_verb_that_hangs_says_which_it_was() -> None:
    [hung] = [broken for broken in BROKEN if broken.mistake == "a verb never answers"]
    [error] = await failures(hung.open_harness, hung.killed_by)
    assert str(error).startswith("queue.promote has not answered for 0.5 s")


async def test_a_second_verb_starts_at_as_many_instants_as_the_option_says() -> None:
    async with clock_harness(open_backend) as harness:
        store, offsets = Store(harness, interleavings=9), list[str]()
        for offset in store.start_offsets():
            await store.interleave(asyncio.sleep(0.02), asyncio.sleep(0), offset)
            offsets.append(str(offset))
        assert offsets[:3] == ["0 turns later", "1 turns later", "2 turns later"]
        assert offsets[3:] == [f"{tenth}0% on its way" for tenth in range(1, 10)]


@pytest.mark.parametrize("configuration", ["[pytest]", "[pytest]\nfilterwarnings = error"])
def test_the_command_warns_of_nothing(tmp_path: Path, configuration: str) -> None:
    (tmp_path / "pytest.ini").write_text(configuration)
    ran = judge(tmp_path, "task_manager_memory:open_backend", "-p", "no:valkey", "-k", "membership")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "warning" not in ran.stdout + ran.stderr


def test_the_command_works_where_this_project_configures_pytest() -> None:
    ran = judge(ROOT, "task_manager_memory:open_backend", "-k", "membership")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "named",
    [
        "tests.testing.no_such_module:store",
        "tests.testing.broken_stores:no_such_store",
        "tests.testing.broken_stores:ROUND",
        "half_written:open_backend",
        ":open_backend",
        "",
    ],
)
def test_a_store_that_cannot_be_judged_is_reported_in_one_line(tmp_path: Path, named: str) -> None:
    (tmp_path / "half_written.py").write_text("raise RuntimeError('not\\nyet')")
    with pytest.raises(pytest.UsageError) as told:
        in_folder(tmp_path, named)
    assert f"--backend={named}: " in str(told.value)
    assert "\n" not in str(told.value)


def test_a_store_that_is_not_there_is_an_error_of_usage(tmp_path: Path) -> None:
    named = "tests.testing.no_such_module:store"
    ran = judge(tmp_path, named)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert ran.stderr.count(named) == 1


def test_the_suite_without_a_store_is_an_error_of_usage(tmp_path: Path) -> None:
    """A CI job that lacks the option must fail."""
    suite = "task_manager_core.testing.conformance"
    command = [sys.executable, "-m", "pytest", "-p", f"{suite}.plugin", "-p", "no:cacheprovider", "--pyargs", suite]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR, ran.stdout + ran.stderr
    assert "--backend=MODULE:NAME is missing" in ran.stderr


def test_one_law_is_chosen_by_its_number(tmp_path: Path) -> None:
    ran = judge(tmp_path, "task_manager_memory:open_backend", "-k", "run_queue_1.")
    judged = [line.strip() for line in ran.stdout.splitlines() if line.startswith("  ✓ ")]
    assert [line.split()[1] for line in judged] == ["1."], ran.stdout + ran.stderr


async def test_the_comparison_finds_where_two_stores_part() -> None:
    steps = [*random_steps(Decider(3), 200)]
    await compare(lambda: clock_harness(open_backend), open_backend, steps)
    with pytest.raises(AssertionError, match="step"):
        await compare(lambda: clock_harness(backwards), open_backend, steps)


def test_a_law_holds_when_every_test_of_it_passed() -> None:
    assert verdict_of(["passed", "passed"]) is LawResult.HOLDS
    assert verdict_of(["passed", "failed", "skipped"]) is LawResult.BROKEN
    assert verdict_of(["passed", "skipped"]) is LawResult.NOT_JUDGED
    assert verdict_of([]) is LawResult.NOT_JUDGED
