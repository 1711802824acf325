"""A definition is data. It is checked when it is built, because other processes trust the stored definition."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.errors import DefinitionError, InvalidArguments, InvalidPolicy
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.policy import LONGEST_TIME, MOST_INSTANCES, Overlap, Priority, RetryPolicy
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import (
    DEEPEST_KWARGS,
    LONGEST_DESCRIPTION,
    LONGEST_KWARGS,
    MOST_TAGS,
    TaskDefinition,
    VersionedDefinition,
    canonical_kwargs,
)

KEY = TaskKey("g", "n")
SLOT = datetime(2026, 1, 1, tzinfo=UTC)
HOURLY = Schedule.every(timedelta(hours=1))

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


def a_task(
    *,
    function: str = "f",
    description: str | None = None,
    tags: tuple[str, ...] = (),
    timeout: timedelta | None = None,
    start_deadline: timedelta | None = None,
    expires: timedelta | None = None,
) -> TaskDefinition:
    return TaskDefinition(
        key=KEY,
        schedule=HOURLY,
        function=function,
        description=description,
        tags=tags,
        timeout=timeout,
        start_deadline=start_deadline,
        expires=expires,
    )


# --- keyword arguments -----------------------------------------------------------------------------------------------


@given(st.dictionaries(texts, json_values, max_size=5))
def test_arguments_are_read_as_they_were_given(kwargs: dict[str, object]) -> None:
    """Invariant: reading the canonical text gives the arguments, and their order does not change the text."""
    text = canonical_kwargs(kwargs)
    assert json.loads(text) == kwargs
    assert canonical_kwargs(dict(reversed(kwargs.items()))) == text
    text.encode()


def test_no_arguments_are_an_empty_object() -> None:
    assert canonical_kwargs(None) == canonical_kwargs({}) == "{}"


def test_tuples_are_lists_to_json() -> None:
    assert canonical_kwargs({"a": (1, [2, {"b": 3}])}) == '{"a":[1,[2,{"b":3}]]}'


def cyclic() -> dict[str, object]:
    inner: dict[str, object] = {}
    inner["self"] = inner
    return inner


def deep(levels: int) -> dict[str, object]:
    value: object = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    "kwargs",
    [
        {1: "a"},
        {"a": {1: "b"}},
        {"a": [{"b": ({None: 1},)}]},
        {"a": {1: "b", "1": "c"}},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\ud800"},
        {"\udfff": 1},
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": SLOT},
        {"a": 10**5000},
        {"a": "x" * LONGEST_KWARGS},
        cyclic(),
        deep(DEEPEST_KWARGS + 1),
        deep(100_000),
    ],
    ids=[
        "key is a number", "nested key", "key in a list", "keys that meet", "nan", "infinity", "surrogate",
        "surrogate in a key", "object", "set", "bytes", "datetime", "5000 digits", "too long", "cyclic", "deep",
        "very deep",
    ],
)  # fmt: skip
def test_arguments_that_json_would_change_or_refuse_are_refused_by_name(kwargs: dict[str, object]) -> None:
    with pytest.raises(InvalidArguments) as refusal:
        canonical_kwargs(kwargs, "kwargs of trigger")
    assert refusal.value.field == "kwargs of trigger"
    assert len(str(refusal.value)) < 1000


def test_arguments_may_be_as_long_as_the_limit() -> None:
    empty = len(canonical_kwargs({"a": ""}))
    assert len(canonical_kwargs({"a": "x" * (LONGEST_KWARGS - empty)})) == LONGEST_KWARGS


def test_arguments_may_be_as_deep_as_the_limit() -> None:
    assert json.loads(canonical_kwargs(deep(DEEPEST_KWARGS))) == deep(DEEPEST_KWARGS)


# --- definitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["timeout", "start_deadline", "expires"])
@pytest.mark.parametrize(
    "value", [timedelta(0), timedelta(seconds=-1), timedelta(microseconds=1), timedelta.max, LONGEST_TIME * 2]
)
def test_a_time_that_no_store_keeps_or_that_leaves_the_calendar_is_refused(field: str, value: timedelta) -> None:
    with pytest.raises(InvalidPolicy) as refusal:
        a_task(**{field: value})  # type: ignore[arg-type]  # the name of the field is the parameter
    assert (refusal.value.field, refusal.value.value) == (field, value.total_seconds())


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.BUFFER_ONE])
def test_a_limit_of_live_runs_contradicts_a_task_with_one_live_run(overlap: Overlap) -> None:
    with pytest.raises(InvalidPolicy, match=f"max_instances=3: .* contradicts overlap={overlap.value}"):
        replace(a_task(), overlap=overlap, max_instances=3)


@pytest.mark.parametrize("most", [0, -1, MOST_INSTANCES + 1])
def test_a_limit_of_live_runs_is_at_least_one_and_bounded(most: int) -> None:
    with pytest.raises(InvalidPolicy, match=f"max_instances={most}: must be 1 to {MOST_INSTANCES}"):
        replace(a_task(), max_instances=most)


@pytest.mark.parametrize("most", [True, 1.5, "3"])
def test_a_limit_of_live_runs_is_a_whole_number(most: object) -> None:
    with pytest.raises(InvalidPolicy, match=r"max_instances=.*must be of type int"):
        replace(a_task(), max_instances=most)  # type: ignore[arg-type]  # the wrong type is the test


def test_the_runs_of_a_task_carry_its_limit() -> None:
    task = replace(a_task(), max_instances=3)
    assert (task.live_limit, task.run_of_slot(SLOT, 1).live_limit, task.run_of_request("r", 1).live_limit) == (3, 3, 3)
    assert (a_task().live_limit, a_task().run_of_slot(SLOT, 1).live_limit) == (None, None)


@pytest.mark.parametrize("description", ["x" * (LONGEST_DESCRIPTION + 1), "\ud800"])
def test_a_description_is_bounded_and_valid_unicode(description: str) -> None:
    with pytest.raises(InvalidPolicy, match="description"):
        a_task(description=description)


def test_the_name_of_the_function_and_every_tag_are_names() -> None:
    with pytest.raises(DefinitionError, match="function_name"):
        a_task(function="")
    with pytest.raises(DefinitionError, match="tags"):
        a_task(tags=("fine", "not\nfine"))


def test_tags_are_counted_before_they_are_read() -> None:
    assert len(a_task(tags=("tag",) * MOST_TAGS).tags) == MOST_TAGS
    with pytest.raises(InvalidPolicy, match="tags=101: must be at most 100"):
        a_task(tags=("",) * (MOST_TAGS + 1))


def test_a_definition_within_the_limits_is_kept_as_it_is() -> None:
    task = a_task(description="two\nlines", tags=("a", "b"), timeout=LONGEST_TIME, start_deadline=LONGEST_TIME)
    assert (task.description, task.tags, task.timeout) == ("two\nlines", ("a", "b"), LONGEST_TIME)
    assert VersionedDefinition(definition=task, version=3).definition is task


def test_the_run_of_a_slot_carries_all_that_a_worker_needs() -> None:
    task = TaskDefinition(
        key=KEY,
        schedule=HOURLY,
        function="f",
        kwargs='{"a":1}',
        priority=Priority.HIGH,
        overlap=Overlap.SKIP,
        retry=RetryPolicy(max_retries=2),
        timeout=timedelta(seconds=9),
    )
    run = task.run_of_slot(SLOT, 5)
    assert (run.id, run.task, run.slot, run.version) == (RunId.of_slot(KEY, SLOT), KEY, SLOT, 5)
    assert (run.function, run.kwargs, run.timeout) == ("f", '{"a":1}', timedelta(seconds=9))
    assert (run.priority, run.overlap, run.retry) == (Priority.HIGH, Overlap.SKIP, RetryPolicy(max_retries=2))


def test_the_run_of_a_slot_may_start_until_its_deadline_after_it_could_be_dispatched() -> None:
    task = a_task(start_deadline=timedelta(minutes=1))
    assert task.run_of_slot(SLOT, 1).start_by == SLOT + timedelta(minutes=1)
    assert task.run_of_slot(SLOT, 1, SLOT + timedelta(seconds=9)).start_by == SLOT + timedelta(seconds=69)
    assert task.run_of_request("r", 1).start_by is None
    assert a_task().run_of_slot(SLOT, 1).start_by is None


@pytest.mark.parametrize("field", ["start_deadline", "expires"])
def test_a_last_instant_outside_the_calendar_is_none(field: str) -> None:
    task = a_task(**{field: LONGEST_TIME})  # type: ignore[arg-type]  # the name of the field is the parameter
    last = datetime.max.replace(tzinfo=UTC)
    assert task.run_of_slot(last, 1).start_by is None


@pytest.mark.parametrize(
    ("deadline", "expires", "minutes"), [(None, 2, 2), (1, 2, 1), (2, 1, 1), (1, None, 1), (None, None, None)]
)
def test_the_shorter_of_deadline_and_expiry_limits_the_run_of_a_slot(
    deadline: int | None, expires: int | None, minutes: int | None
) -> None:
    def length(number: int | None) -> timedelta | None:
        return None if number is None else timedelta(minutes=number)

    task = a_task(start_deadline=length(deadline), expires=length(expires))
    expected = None if minutes is None else SLOT + timedelta(minutes=minutes)
    assert task.run_of_slot(SLOT, 1).start_by == expected
    assert task.run_of_request("r", 1).start_by is None


def test_a_requested_run_has_no_slot_and_may_have_arguments_of_its_own() -> None:
    task = a_task()
    assert task.run_of_request("r", 1).kwargs == "{}"
    run = task.run_of_request("r", 1, '{"a":2}')
    assert (run.slot, run.kwargs, run.id) == (None, '{"a":2}', RunId.of_request(KEY, "r"))
