"""Different names make different keys, whatever characters they contain."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from task_manager_core.domain.identity import LONGEST_NAME, RunId, TaskKey
from task_manager_redis.keys import (
    decode,
    decode_run_id,
    decode_task,
    encode,
    encode_run_id,
    encode_task,
    root_of,
)

ODD = "_:{}/ %.~-|#?+&=é漢🙂\u00a0*[]\\\"'"
names = st.text(
    st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])),
    min_size=1,
    max_size=LONGEST_NAME,
)
tasks = st.builds(TaskKey, names, names)


@given(names)
@example("%")
@example("%7B")
@example("{}")
def test_an_encoded_name_can_be_decoded_and_contains_no_joining_character(name: str) -> None:
    assert decode(encode(name)) == name
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+", encode(name))


@given(tasks, tasks)
@example(TaskKey("a", "b/c"), TaskKey("a/b", "c"))
@example(TaskKey("a", "b:c"), TaskKey("a:b", "c"))
@example(TaskKey("a_b", "c"), TaskKey("a", "b_c"))
@example(TaskKey("%2F", "x"), TaskKey("/", "x"))
@example(TaskKey("é", "x"), TaskKey("e\u0301", "x"))
def test_two_tasks_share_a_key_only_if_they_are_one(one: TaskKey, other: TaskKey) -> None:
    assert (encode_task(one) == encode_task(other)) == (one == other)
    assert decode_task(encode_task(one)) == one


@given(names)
def test_run_ids_travel_without_spaces(name: str) -> None:
    assert decode_run_id(encode_run_id(RunId(name))) == RunId(name)
    assert " " not in encode_run_id(RunId(name))


@given(names, names)
@example("a", "a}")
@example("}{", "{}")
def test_two_prefixes_share_a_root_only_if_they_are_one(one: str, other: str) -> None:
    assert (root_of(one) == root_of(other)) == (one == other)
    assert re.fullmatch(r"\{[^{}]+\}", root_of(one))
