"""What a visitor's tools read says the same as the project: workflows, hooks and the settings of editors."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CI = (ROOT / ".github/workflows/ci.yml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_workflow_tests_every_python_that_the_project_names() -> None:
    [matrix] = re.findall(r"^ +python: \[(.*)\]$", CI, re.MULTILINE)
    named = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if ":: 3." in line]
    assert re.findall(r'"([\d.]+)"', matrix) == named
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"


def test_the_workflow_tests_every_server_that_the_page_promises() -> None:
    """Redis 6.2 or newer, and Valkey: the oldest, and each line after it."""
    assert "Redis 6.2 or newer, or Valkey." in (ROOT / "docs/howto/run-on-redis.md").read_text()
    servers = re.findall(r"server: ([\w .]+), repository: ([\w/-]+), branch: \"([\d.]+)\"", CI)
    assert [name for name, _, _ in servers] == ["Redis 6.2", "Redis 7", "Redis 8", "Valkey 8"]
    for name, repository, branch in servers:
        kind, version = name.split()
        assert kind.lower() in repository
        assert branch.startswith(version)


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / ".ci/run"], ids=lambda path: path.name)
def test_every_target_and_every_test_that_a_workflow_names_exists(path: Path) -> None:
    text = path.read_text()
    assert {*re.findall(r"(?:run: |exec |^)make ([a-z-]+)", text, re.MULTILINE)} <= TARGETS
    for tests in re.findall(r'TESTS="([^"]+)"', text):
        assert [name for name in tests.split() if not (ROOT / name).exists()] == []


def test_the_machine_of_the_project_and_the_hosted_one_run_the_same() -> None:
    everywhere = {*re.findall(r"\bmake ([a-z-]+)", (ROOT / ".ci/run").read_text())} - {"check"} | {"lint", "test"}
    assert everywhere <= {*re.findall(r"run: make ([a-z-]+)", CI)}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_named_by_its_content(path: Path) -> None:
    """A tag can be moved to other code; a commit cannot. The comment tells people and dependabot the version."""
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+|\./\S+ # .*", action), action


def test_the_hook_that_lints_commits_is_the_linter_of_the_project() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"entry: (\S*ruff) ", hooks)) == {".venv/bin/ruff"}
    assert "repo: http" not in hooks


def test_editors_break_lines_where_the_formatter_does() -> None:
    settings = (ROOT / ".editorconfig").read_text()
    assert f"max_line_length = {PROJECT['tool']['ruff']['line-length']}\n" in settings
