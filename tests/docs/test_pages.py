"""The pages agree with the code."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from task_manager_core import ports
from task_manager_core.domain import leadership, run
from task_manager_core.domain.preview import upcoming
from task_manager_core.domain.recurrence import Fold, Gap
from task_manager_core.domain.schedule import Schedule
from tests.waiting import wait_until_async

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")])


def drawn(transitions: dict[tuple[Enum, Enum], Enum]) -> str:
    """A transition table as the architecture page shows it."""
    before = max(len(str(state.value)) for state, _ in transitions) + 2
    arrow = max(len(str(turn.value)) for _, turn in transitions) + 6
    return "\n".join(
        f"{state.value:<{before}}{f'--{turn.value}-->':<{arrow}}{following.value}"
        for (state, turn), following in transitions.items()
    )


def squeezed(text: str) -> str:
    return re.sub(r" +", " ", text)


@pytest.mark.parametrize("machine", [run, leadership], ids=["run", "leadership"])
def test_the_architecture_page_draws_the_transition_tables(machine: object) -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text()
    assert squeezed(drawn(machine.TRANSITIONS)) in squeezed(page)  # type: ignore[attr-defined]  # both modules have one


def test_the_decision_on_ports_counts_their_verbs() -> None:
    page = (ROOT / "docs/decisions/0001-ports-of-intent.md").read_text()
    counted = {name: int(verbs) for name, verbs in re.findall(r"(\w+(?: queue)?) (\d+)[,.]", page)}
    classes = {name: getattr(ports, name.title().replace(" ", "")) for name in counted}
    assert counted == {name: sum(not verb.startswith("_") for verb in vars(port)) for name, port in classes.items()}
    assert (sum(counted.values()), len(counted)) == (34, 7)
    assert "Thirty-four verbs in seven ports" in page


def anchors(page: Path) -> set[str]:
    """The headings of a page in the form that code hosts and the site use in addresses."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return {
        re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_of_code_begins_in_a_way_that_every_reader_of_markdown_knows(page: Path) -> None:
    """The site understands a word and a title, code hosts the first word. The site shows any other block as prose."""
    fences = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
    assert [fence for fence in fences[::2] if not re.fullmatch(r'\w*( title="[^"]+")?', fence)] == []
    assert [fence for fence in fences[1::2] if fence] == []


def test_the_program_on_the_page_on_simulation_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/explanation/simulation.md").read_text(), re.DOTALL)
    exec(compile(block, "simulation.md", "exec"), {})


SLOTS = re.findall(
    r"```slots title=\"(.*?)\"\n(.*?)```", (ROOT / "docs/howto/daylight-saving.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize(("asked", "answered"), SLOTS, ids=[asked for asked, _ in SLOTS])
def test_the_page_on_daylight_saving_shows_what_the_schedule_says(asked: str, answered: str) -> None:
    expression, zone, after, *rules = (part.strip() for part in asked.split("|"))
    schedule = (
        Schedule.cron(expression, timezone=zone, gap=Gap.SKIP, fold=Fold.BOTH)
        if rules
        else Schedule.cron(expression, timezone=zone)
    )
    lines = answered.splitlines()
    shown = upcoming(schedule, datetime.fromisoformat(after), len(lines))
    assert lines == [
        "  ".join(filter(None, (f"{one.slot:%Y-%m-%dT%H:%M:%SZ}", one.local.isoformat(), one.note))) for one in shown
    ]


async def test_the_readme_example_is_a_working_application_on_redis(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOST", redis_url)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert len(block.strip().splitlines()) <= 20
    app = names["app"]
    assert isinstance(app, FastAPI)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/task-manager") as client,
    ):

        async def listed() -> bool:
            tasks = (await client.get("/tasks")).json()
            return [(task["task_group_name"], task["name"]) for task in tasks] == [("Reports", "cleanup")]

        await wait_until_async(listed, "the task of the example is listed")


def test_every_decision_has_a_number_of_its_own() -> None:
    """The heading and the name of the file have it."""
    paths = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in paths]
    assert numbers == sorted(set(numbers))
    for number, path in zip(numbers, paths, strict=True):
        assert path.read_text().startswith(f"# {number}. ")
