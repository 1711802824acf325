"""The counts of `python -m tests.architecture.wording` stay small."""

from __future__ import annotations

import re

from tests.architecture import wording
from tests.architecture.conftest import ROOT

AT_MOST = 15.0
"""Words that name no actor, in 100,000."""

# Two classes of one name, and why.
TWICE = {
    "Task": "the model of the surface has the name that callers of the REST interface know",
    "TaskGroup": "as for Task",
}

INDEX = (ROOT / "docs/contributing.md").read_text()
LINES = re.findall(r"^\| `((?:domain|application|ports)/\w+)` \| (.*) \|$", INDEX, re.MULTILINE)


def test_sentences_name_their_actors() -> None:
    assert wording.per_100_000_words() <= AT_MOST, wording.words_without_actor()


def test_a_class_name_means_one_thing() -> None:
    assert wording.classes_of_one_name().keys() == TWICE.keys()


def test_the_tests_of_every_module_of_the_core_can_be_found() -> None:
    """They have its name, or the page for contributors says where they are."""
    listed = {module for module, _ in LINES}
    assert [module for module in wording.modules_without_a_test_of_their_name() if module not in listed] == []


def test_the_index_of_tests_names_files_that_exist() -> None:
    for module, tests in LINES:
        files = re.findall(r"`([\w/.]+)`", tests)
        assert files, module
        missing = [path for path in (f"src/task_manager_core/{module}.py", *files) if not (ROOT / path).exists()]
        assert missing == [], module
