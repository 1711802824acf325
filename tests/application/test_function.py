"""The functions of a process are inspected when they are registered, and not when they first run."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from typing import TYPE_CHECKING, Annotated, Optional

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.context import RunContext as Renamed
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.function import AnyFunction, Function
from task_manager_core.domain.errors import InvalidArguments
from tests.application.cluster import a_task, nothing

if TYPE_CHECKING:
    from task_manager_core.application import context as only_for_the_checker


def plain(context: RunContext) -> None: ...
def renamed(context: Renamed) -> None: ...
def union(context: RunContext | None = None) -> None: ...
def optional(context: Optional[RunContext] = None) -> None: ...  # noqa: UP045 - what users write
def quoted(context: "RunContext") -> None: ...  # noqa: UP037 - the same
def quoted_union(context: "RunContext | None" = None) -> None: ...  # noqa: UP037 - the same
def annotated(context: Annotated[RunContext, "x"]) -> None: ...
def keyword(*, number: int = 1, context: RunContext) -> None: ...
def unresolved(context: only_for_the_checker.RunContext) -> None: ...
def unresolved_optional(other: Missing, context: Optional[RunContext]) -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP045 - the point
def without(context: object, number: int = 1) -> None: ...
def lookalike(context: MyRunContextual) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the point
def catch_all(**context: RunContext) -> None: ...
def listing(*context: RunContext) -> None: ...


class Callable:
    async def __call__(self, context: RunContext) -> None: ...

    def method(self, context: RunContext) -> None: ...


class Heir(Callable):
    pass


async def in_loop(context: RunContext, number: int = 1) -> None: ...


@pytest.mark.parametrize(
    "call",
    [
        plain, renamed, union, optional, quoted, quoted_union, annotated, keyword, unresolved, unresolved_optional,
        Callable(), Heir(), Callable().method, in_loop, functools.partial(in_loop, number=2),
        functools.partial(functools.partial(plain)),
    ],
)  # fmt: skip
def test_the_parameter_annotated_with_the_context_is_found(call: AnyFunction) -> None:
    assert Function.of(call).context == "context"


@pytest.mark.parametrize(
    "call", [without, lookalike, catch_all, listing, nothing, functools.partial(without, object()), print, int]
)
def test_a_parameter_without_the_annotation_is_not_taken_for_the_context(call: AnyFunction) -> None:
    assert Function.of(call).context is None


@pytest.mark.parametrize(
    ("call", "is_async"),
    [
        (in_loop, True),
        (functools.partial(functools.partial(in_loop)), True),
        (Callable(), True),
        (Heir(), True),
        (functools.partial(Callable()), True),
        (Callable().method, False),
        (Callable, False),
        (plain, False),
        (print, False),
    ],
)
def test_a_function_is_async_if_calling_it_gives_a_coroutine(call: AnyFunction, is_async: bool) -> None:
    assert Function.of(call).is_async is is_async


FOR_THE_CHECKER = """
from typing import TYPE_CHECKING
from task_manager_core.application.context import RunContext
if TYPE_CHECKING:
    from database import Session
    from task_manager_core.application import context as checked

def plain(session: Session, context: RunContext) -> None: ...
async def union(session: Session, context: RunContext | None = None) -> None: ...
async def both(session: Session, context: checked.RunContext) -> None: ...
async def without(session: Session, context: int) -> Session: ...

class Service:
    async def __call__(self, session: Session, context: RunContext) -> None: ...
"""


@pytest.mark.parametrize(
    ("name", "context"), [("plain", "context"), ("union", "context"), ("both", "context"), ("without", None)]
)
def test_names_that_only_the_type_checker_knows_may_stand_in_annotations(name: str, context: str | None) -> None:
    """Since Python 3.14 users need no import from __future__: annotations are evaluated on demand."""
    future = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    names: dict[str, typing.Any] = {}
    exec(compile(future + FOR_THE_CHECKER, "tasks.py", "exec", dont_inherit=True), names)
    service = names["Service"]()
    for call in (names[name], functools.partial(names[name], session=None)):
        function = Function.of(call)
        assert function.context == context
        given: dict[str, object] = {"session": 1}
        function.check(given if context else {**given, "context": 1})
        with pytest.raises(InvalidArguments, match="does not accept them"):
            function.check({"other": 1})
    assert Function.of(service).context == Function.of(service.__call__).context == "context"


def all_kinds(a, /, b, c=1, *rest, d, e=2, **more) -> None: ...  # type: ignore[no-untyped-def]
def by_position(a, b=1, /) -> None: ...  # type: ignore[no-untyped-def]
def by_keyword(*, a=1, b) -> None: ...  # type: ignore[no-untyped-def]
def anything(*rest, **more): ...  # type: ignore[no-untyped-def]
async def coroutine(a, b=None): ...  # type: ignore[no-untyped-def]


def with_local_names(a) -> object:  # type: ignore[no-untyped-def]
    local, other = a, 2
    return local, other


def made_with(default: object) -> AnyFunction:
    def made(a, b=default) -> None: ...  # type: ignore[no-untyped-def]

    return made


@pytest.mark.parametrize(
    "call",
    [all_kinds, by_position, by_keyword, anything, coroutine, with_local_names, made_with(1), lambda: None, nothing],
)
def test_a_function_without_annotated_parameters_is_known_as_if_it_was_inspected(call: AnyFunction) -> None:
    function, inspected = Function.of(call), inspect.signature(call)
    assert function.signature is not None
    assert function.is_async is inspect.iscoroutinefunction(call)
    assert [(one.name, one.kind, one.default is one.empty) for one in function.signature.parameters.values()] == [
        (one.name, one.kind, one.default is one.empty) for one in inspected.parameters.values()
    ]


def test_functions_with_equal_parameters_share_one_signature() -> None:
    first, second = Function.of(made_with(1)), Function.of(made_with([2]))
    assert first.signature is second.signature
    assert first.call is not second.call


def test_a_function_that_says_more_than_its_code_is_inspected() -> None:
    @functools.wraps(plain)
    def wrapped(*arguments, **named): ...  # type: ignore[no-untyped-def]

    assert Function.of(wrapped).context == "context"


# --- arguments -------------------------------------------------------------------------------------------------------


def needs(number: int, context: RunContext, *, text: str = "") -> None: ...


@pytest.mark.parametrize("arguments", [{"number": 1}, {"number": 1, "text": "x"}])
def test_arguments_that_the_function_accepts_are_fine(arguments: dict[str, object]) -> None:
    Function.of(needs).check(arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "missing a required argument: 'number'"),
        ({"number": 1, "surprise": 2}, "unexpected keyword argument 'surprise'"),
        ({"number": 1, "context": 2}, "'context' is filled with the RunContext"),
    ],
)
def test_arguments_that_the_function_does_not_accept_are_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidArguments) as refusal:
        Function.of(needs).check(arguments, "kwargs of trigger")
    assert (refusal.value.field, refusal.value.value) == ("kwargs of trigger", arguments)
    assert reason in refusal.value.reason


def test_a_function_without_a_signature_accepts_all_arguments() -> None:
    Function.of(type).check({"anything": 1})


def test_a_context_that_can_only_be_given_by_position_is_refused_at_registration() -> None:
    def positional(context: RunContext, /) -> None: ...

    with pytest.raises(InvalidArguments):
        Declarations().declare(a_task(), positional)
