"""Count what a review of the words of this project counts.

    python -m tests.architecture.wording

It prints how often four words stand for an actor that a sentence does not name, the class names that stand for two
things, and the modules of the core that have no test file of their name.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src/task_manager_core"
SOURCES = (ROOT / "src", ROOT / "adapters")
FOLDERS = (*SOURCES, ROOT / "tests", ROOT / "docs")
TEXTS = {".py", ".md", ".lua", ".js", ".toml"}
# What tools leave below the folders, out of git.
BUILT = {"__pycache__", "site", ".cache"}

# Nobody, somebody, everybody, whoever: a sentence with one of them often hides who acts.
NO_ACTOR = re.compile(r"\b(?:(?:no|some|every)body|whoever)\b", re.IGNORECASE)
WORD = re.compile(r"\b[^\W\d_]+(?:['’][^\W\d_]+)?\b")

# The layers of the core, each with the folders in which a test of a module's name may stand. The tests of a port are
# those of the conformance suite.
TESTS_OF = {
    "domain": ("tests/domain/test_{}.py",),
    "application": ("tests/application/test_{}.py",),
    "ports": ("tests/ports/test_{}.py", "src/task_manager_core/testing/conformance/{}.py"),
}


def texts() -> Iterator[tuple[Path, str]]:
    """Every file of code, tests and pages."""
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*")):
            if path.suffix in TEXTS and path.is_file() and not BUILT & {*path.relative_to(ROOT).parts}:
                yield path, path.read_text()


def words_without_actor() -> tuple[dict[str, int], int]:
    """How often the four words stand in each file that has one, and how many words all files have."""
    found, words = {}, 0
    for path, text in texts():
        words += len(WORD.findall(text))
        if count := len(NO_ACTOR.findall(text)):
            found[path.relative_to(ROOT).as_posix()] = count
    return found, words


def per_100_000_words() -> float:
    found, words = words_without_actor()
    return sum(found.values()) * 100_000 / words


def classes_of_one_name() -> dict[str, list[str]]:
    """The names that two classes or more have, with their files. A name with an underscore stays in its module."""
    places = defaultdict(list)
    for folder in SOURCES:
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(path.relative_to(ROOT).as_posix())
    return {name: files for name, files in sorted(places.items()) if len(files) > 1}


def modules_without_a_test_of_their_name() -> list[str]:
    """Modules of the core, such as `application/attempt`."""
    return [
        f"{layer}/{path.stem}"
        for layer, tests in TESTS_OF.items()
        for path in sorted((CORE / layer).glob("[!_]*.py"))
        if not any((ROOT / test.format(path.stem)).exists() for test in tests)
    ]


def main() -> None:
    """Print the counts, and where to look."""
    found, words = words_without_actor()
    print(f"words that name no actor: {sum(found.values())} in {words:,}, {per_100_000_words():.1f} in 100,000")
    for path, count in sorted(found.items(), key=lambda item: -item[1]):
        print(f"  {count:3} {path}")
    twice = classes_of_one_name()
    print(f"class names that stand for two things: {len(twice)}")
    for name, files in twice.items():
        print(f"  {name}: {', '.join(files)}")
    alone = modules_without_a_test_of_their_name()
    print(f"modules of the core without a test of their name: {len(alone)}")
    for module in alone:
        print(f"  {module}")


if __name__ == "__main__":
    main()
