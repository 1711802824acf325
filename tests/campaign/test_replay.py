"""Replaying tells a wrong line from a broken invariant."""

from __future__ import annotations

import pytest

from task_manager_core.testing.campaign.plan import Plan
from task_manager_core.testing.campaign.replay import main


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
def test_wrong_arguments_are_told_and_end_with_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_plan_that_was_printed_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Plan(duration=1.0).text()]) == 0
    assert "no violation" in capsys.readouterr().out
