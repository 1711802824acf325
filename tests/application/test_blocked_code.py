"""The line of code that blocks an event loop."""

from __future__ import annotations

import functools
import sys

from task_manager_core.application.blocked_code import blocked_code


def own_code(found: list[tuple[str, str]]) -> None:
    found.append(blocked_code(sys._getframe()))


def test_the_line_is_the_innermost_one_of_the_application() -> None:
    found: list[tuple[str, str]] = []

    def called_by_a_library(*_: object) -> int:
        found.append(blocked_code(sys._getframe()))
        return 0

    sorted([1, 2], key=functools.cmp_to_key(called_by_a_library))
    own_code(found)
    (line, stack), (other, _) = found
    assert line == f"{__file__}:{called_by_a_library.__code__.co_firstlineno + 1} in {called_by_a_library.__qualname__}"
    assert "blocked_code(sys._getframe())" in stack
    assert other.endswith("in own_code")


def test_code_of_the_package_is_not_to_blame() -> None:
    found: list[str] = []
    path = f"{sys.modules['task_manager_core'].__path__[0]}/application/worker.py"
    code = compile("def _beat(call): call()\n", path, "exec")
    names: dict[str, object] = {"sys": sys, "blocked_code": blocked_code}
    exec(code, names)

    def called() -> None:
        line, stack = blocked_code(sys._getframe())
        found.append(line)
        assert "worker.py" not in stack

    names["_beat"](called)  # type: ignore[operator]
    assert found[0].endswith("called")


def test_a_thread_that_has_ended_shows_no_line() -> None:
    assert blocked_code(None) == ("unknown code", "")
