"""A pytest plugin for the author of a store: the option `--backend`, and a summary of the laws that hold.

    pytest -p task_manager_core.testing.conformance.plugin \\
        --pyargs task_manager_core.testing.conformance --backend=my_store:open_backend

The option `-p` is needed because pytest takes options only from plugins that are loaded before the tests are collected.
`python -m task_manager_core.testing.conformance my_store:open_backend` does the same.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum

import pytest

from task_manager_core.testing.conformance.cli_target import opener
from task_manager_core.testing.conformance.laws import PORTS, Law, judged_by, laws_of
from task_manager_core.testing.conformance.store import INTERLEAVINGS

_MAX_NAMES = 3
_MODULES_THAT_NEED_A_STORE = {f"{__package__}.{module}" for module in ("test_backend", "test_model")}


class LawResult(Enum):
    """The result of the tests of a law. A law that was not judged does not hold."""

    HOLDS = "✓"
    BROKEN = "✗"
    NOT_JUDGED = "–"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("task_manager_core", "conformance of a store")
    group.addoption(
        "--backend",
        metavar="MODULE:NAME",
        help="the OpenBackend to judge; if MODULE has a `conformance_harness`, that opens the store instead",
    )
    group.addoption(
        "--meetings",
        metavar="N",
        type=int,
        default=INTERLEAVINGS,
        help="of two verbs at the same time, start the second at N instants of the first (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    named: str | None = config.getoption("--backend")
    if named is not None:
        opener(named)  # a wrong name fails here once, and not in every test
    config.pluginmanager.register(_Laws(judges=named is not None), "task_manager_core_laws")


class _Laws:
    """Collects the outcomes of the tests of each law, separately for each class of tests."""

    def __init__(self, *, judges: bool) -> None:
        self._judges = judges
        self._law_of: dict[str, tuple[str, Law]] = {}
        self._tests: dict[tuple[str, Law], list[tuple[str, str]]] = defaultdict(list)

    @pytest.hookimpl(tryfirst=True)  # before -k chooses
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let `-k leadership` choose the tests of a port and `-k run_queue_1.` the tests of a law.

        The dot is needed because -k matches parts of words: "run_queue_13" begins with "run_queue_1".
        """
        for item in items:
            suite = item.cls if isinstance(item, pytest.Function) else None
            if suite is None:
                continue
            if not self._judges and suite.__module__ in _MODULES_THAT_NEED_A_STORE:
                raise pytest.UsageError("--backend=MODULE:NAME is missing: there is no store to judge")
            test: object = getattr(item, "function", None)
            law = judged_by(test)
            if law is not None:
                self._law_of[item.nodeid] = (suite.__qualname__, law)
                item.extra_keyword_matches |= {law.port, f"{law.port}_{law.number}."}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = self._law_of.get(report.nodeid)
        if place is not None and (report.when == "call" or not report.passed):
            self._tests[place].append((report.nodeid.rpartition("::")[2], report.outcome))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for suite in sorted({suite for suite, _ in self._tests}):
            terminalreporter.section(f"laws of {suite}")
            for port in PORTS:
                terminalreporter.write_line(f"{port}")
                for law in laws_of(port):
                    terminalreporter.write_line(self._line(law, self._tests.get((suite, law), [])))

    @staticmethod
    def _line(law: Law, tests: list[tuple[str, str]]) -> str:
        verdict = verdict_of([outcome for _, outcome in tests])
        line = f"  {verdict.value} {law.number}. {law.sentence}"
        broken = [name for name, outcome in tests if outcome == "failed"]
        if broken:
            more = f" and {len(broken) - _MAX_NAMES} more" if len(broken) > _MAX_NAMES else ""
            line += f"\n       {', '.join(broken[:_MAX_NAMES])}{more}"
        return line


def verdict_of(outcomes: list[str]) -> LawResult:
    """A law holds if all its tests passed. With a skipped test it is not judged."""
    if "failed" in outcomes:
        return LawResult.BROKEN
    return LawResult.HOLDS if outcomes and set(outcomes) == {"passed"} else LawResult.NOT_JUDGED
