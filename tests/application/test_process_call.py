"""What travels between a worker and the process of a function."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from task_manager_core.application.process_call import ProcessTarget
from task_manager_core.domain.errors import DefinitionError
from tests.application.process_functions import adds


def test_arguments_that_cannot_travel_are_refused_with_their_function() -> None:
    with pytest.raises(TypeError, match="the arguments of adds cannot be sent to another process"):
        ProcessTarget.of(adds).request({"one": lambda: None})


async def awaited() -> None:
    """A coroutine function."""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: None, "cannot find a lambda"),
        (lambda: awaited, "cannot find a lambda"),
        (print, "needs a plain function of a module"),
        (awaited, "awaited is a coroutine"),
    ],
)
def test_a_function_that_no_other_process_can_call_is_refused(function: Callable[..., object], why: str) -> None:
    with pytest.raises(DefinitionError, match=why) as refused:
        ProcessTarget.of(function)
    assert refused.value.field == "executor"


def test_a_function_inside_a_function_is_refused() -> None:
    def nested() -> None: ...

    with pytest.raises(DefinitionError, match="nested is defined inside a function"):
        ProcessTarget.of(nested)
