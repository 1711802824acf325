"""A replay distinguishes wrong arguments from a broken invariant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from task_manager_core.testing.campaign.campaign import replay_line
from task_manager_core.testing.campaign.faults import Injection, InjectionKind
from task_manager_core.testing.campaign.plan import Plan
from task_manager_core.testing.campaign.replay import main

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{"], "argument plan"),
        (["[]"], "a plan is a JSON object"),
        (['{"machine":3}'], "machine"),
        (['{"tasks":[{"evry":3}]}'], "evry"),
        (['{"tasks":[{"overlap":"never"}]}'], "never"),
        (['{"tasks":[{"every":"often"}]}'], "argument plan"),
        (['{"tasks":[3]}'], "tasks must be a list of objects"),
        (['{"faults":["kill"]}'], "faults must be a list of objects"),
        (['{"faults":[{"kind":"kil","at":1}]}'], "kil"),
        (['{"faults":[{"kind":"kill"}]}'], "at"),
        (['{"faults":[{"kind":"kill","at":1,"lenght":3}]}'], "a fault has no lenght"),
        (["{}", "--store", "nowhere:Store"], "argument --store"),
        (["{}", "--store", "task_manager_memory:Nothing"], "argument --store"),
        (["{}", "--store", "task_manager_memory"], "argument --store"),
    ],
)
def test_wrong_arguments_are_reported_and_end_with_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_plan_that_was_printed_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Plan(duration=1.0).text()]) == 0
    assert "no violation" in capsys.readouterr().out


def test_one_line_replays_a_plan() -> None:
    plan = Plan(faults=(Injection(kind=InjectionKind.KILL, at=3.0, length=1.0),), seed=3, duration=6.0)
    command = [sys.executable, "-m", "task_manager_core.testing.campaign.replay", plan.text()]
    assert replay_line(plan).startswith("python -m task_manager_core.testing.campaign.replay")
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "at 3 s: kill w0" in ran.stdout
    assert "no violation" in ran.stdout
