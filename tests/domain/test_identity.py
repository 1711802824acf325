"""Identities. Users choose the names, so no code may depend on characters that a name does not contain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import LONGEST_NAME, FunctionKey, NodeId, RunId, TaskKey, check_name

SLOT = datetime(2026, 3, 1, 12, tzinfo=UTC)

nasty = st.text(alphabet=":/#|{}%0123 slotrequest", min_size=1, max_size=8)
"""Names made of separators, digits and the words in the text of an identity."""


@given(st.tuples(nasty, nasty, nasty), st.tuples(nasty, nasty, nasty))
def test_two_requests_share_a_run_only_if_group_name_and_request_are_equal(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Invariant: the run id is injective in its parts, with any separators in them."""
    first = RunId.of_request(TaskKey(one[0], one[1]), one[2])
    second = RunId.of_request(TaskKey(other[0], other[1]), other[2])
    assert (first == second) == (one == other)


@given(st.text(alphabet="a:/", min_size=2, max_size=12), st.integers(1, 11), st.integers(1, 11))
def test_moving_the_border_between_group_and_name_makes_another_run(text: str, one: int, other: int) -> None:
    """Invariant: the same characters, divided at another place, are another identity."""
    keys = {TaskKey(text[:cut], text[cut:]) for cut in (one, other) if cut < len(text)}
    assert len({RunId.of_slot(key, SLOT) for key in keys}) == len(keys)


@given(nasty, nasty)
def test_a_slot_and_a_request_never_share_a_run(group: str, name: str) -> None:
    """Invariant: a request with the name of the slot's instant is not the run of that slot."""
    key = TaskKey(group, name)
    assert RunId.of_slot(key, SLOT) != RunId.of_request(key, SLOT.isoformat())


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - made aware below
def test_the_run_of_a_slot_is_the_run_of_its_instant(naive: datetime, minutes: int) -> None:
    """Invariant: the run does not depend on the offset in which an instant is given."""
    slot = naive.replace(tzinfo=UTC)
    elsewhere = slot.astimezone(timezone(timedelta(minutes=minutes)))
    assert RunId.of_slot(TaskKey("g", "n"), slot) == RunId.of_slot(TaskKey("g", "n"), elsewhere)


def test_a_run_id_is_32_hexadecimal_digits_and_the_same_in_every_process() -> None:
    assert RunId.of_slot(TaskKey("g", "n"), SLOT).value == "1c7453bff823ef98abd20a1f8594e52b"
    assert RunId.of_request(TaskKey("g", "n"), "r").value == "938a47462933f223ca37cadb89c90678"


def test_a_request_id_may_be_any_text_that_python_knows() -> None:
    assert RunId.of_request(TaskKey("g", "n"), "\ud800") != RunId.of_request(TaskKey("g", "n"), "\ud801")


@pytest.mark.parametrize("name", ["a", "a  b", "ünï:{code}/", "名前", "🎉", "a" * LONGEST_NAME])
def test_a_name_is_any_text_of_up_to_200_characters(name: str) -> None:
    assert check_name("name", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a" * (LONGEST_NAME + 1), "a\nb", "\x00", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"],
)
def test_a_name_that_is_empty_too_long_or_breaks_a_line_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        check_name("tags", name)
    assert (refusal.value.field, refusal.value.value) == ("tags", name)


UNCLEAR = [
    *(" a", "a ", " ", "\u00a0a", "a\u3000", "a\u2003"),
    *("a\u200b", "\u200da", "a\u00adb", "\ufeffa", "a\u2060b", "a\u061cb", "x\U000e0041"),
    *("a\u202eb", "\u2066a\u2069", "a\u200eb"),
    *("\u3164", "a\u115f", "a\u034fb", "\u2800", "a\uffa0"),
]


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_name_that_looks_like_another_is_refused_and_can_still_be_found(name: str) -> None:
    """An older version accepted the name, and stores still have it."""
    with pytest.raises(
        DefinitionError, match=r"^tags=.*: a name has no (spaces at its ends|format characters)"
    ) as refusal:
        check_name("tags", name)
    assert str(refusal.value).isprintable()
    assert TaskKey("g", name).name == name
    assert TaskKey(name, "n").group == name


@given(st.text(max_size=LONGEST_NAME + 1))
def test_a_name_has_nothing_that_does_not_show(name: str) -> None:
    """Invariant: every character of an accepted name is visible, and no space is at its ends."""
    try:
        check_name("name", name)
    except DefinitionError:
        return
    assert not {category(one) for one in name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert name == name.strip()


@pytest.mark.parametrize("name", ["❤\ufe0f", "हिन्दी", "שלום", "á", "a\u0301", "a\u00a0b", "日本 語"])
def test_scripts_that_combine_and_run_from_right_to_left_are_names(name: str) -> None:
    assert check_name("name", name) == name


@pytest.mark.parametrize(("group", "name", "field"), [("", "n", "group"), ("g", "", "name")])
def test_a_task_key_says_which_part_is_refused(group: str, name: str, field: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        TaskKey(group, name)
    assert refusal.value.field == field


def test_identities_are_shown_by_their_text() -> None:
    assert str(TaskKey("reports", "daily")) == "reports/daily"
    assert str(NodeId("host-1")) == "host-1"
    assert str(RunId("abc")) == "abc"


def test_identities_sort_by_their_parts() -> None:
    assert TaskKey("a", "a") < TaskKey("a", "b") < TaskKey("b", "a")
    assert FunctionKey("a", "b") < FunctionKey("b", "a")
