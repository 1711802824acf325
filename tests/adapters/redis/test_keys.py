"""Names that differ stay different, whatever they are made of."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
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
    entry_of,
    root_of,
    token_of,
)
from task_manager_redis.scripts import Script, script
from tests.adapters.redis.moved import open_moved

ODD = "_:{}/ %.~-|#?+&=é漢🙂\u00a0*[]\\\"'"
names = st.text(
    st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])),
    min_size=1,
    max_size=LONGEST_NAME,
)
tasks = st.builds(TaskKey, names, names)
entries = st.tuples(st.integers(1, 2**42 - 1), st.integers(0, 2**19 - 1))


@given(names)
@example("%")
@example("%7B")
@example("{}")
def test_what_is_encoded_can_be_decoded_and_joins_nothing(name: str) -> None:
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


@given(st.sampled_from(["high", "low"]), entries)
def test_a_token_names_its_entry(priority: str, entry: tuple[int, int]) -> None:
    token = token_of(priority, f"{entry[0]}-{entry[1]}")
    assert entry_of(token) == (priority, f"{entry[0]}-{entry[1]}")
    assert 0 <= token < 2**63


@given(st.lists(entries, min_size=2, unique=True))
def test_tokens_are_ordered_like_their_entries(drawn: list[tuple[int, int]]) -> None:
    tokens = [token_of("low", f"{ms}-{number}") for ms, number in sorted(drawn)]
    assert all(earlier < later for earlier, later in pairwise(tokens))


async def test_the_scripts_make_the_same_tokens(redis_url: str) -> None:
    prelude = script("claim").text.partition("-- ARGV: worker")[0]
    probe = Script("probe", f"{prelude}\nreturn token_of(ARGV[4], ARGV[5])", "0" * 40)
    async with open_moved(redis_url) as moved:
        for priority in ("high", "low"):
            for ms in (1, 999_999, 1_000_000, 1_700_000_000_000, 1_795_474_444_347, 1_799_999_999_999, 2**42 - 1):
                for number in (0, 1, 999, 2**19 - 1):
                    entry = f"{ms}-{number}"
                    assert await moved.client.run(probe, priority, entry) == str(token_of(priority, entry)), entry


@pytest.mark.parametrize("number", [2**19 - 1, 2**19, 2**19 + 7])
async def test_a_crowded_millisecond_continues_in_the_next(redis_url: str, number: int) -> None:
    """The server counts on within a millisecond for as long as its clock was set back; a token has no room for that."""
    prelude = script("claim").text.partition("-- ARGV: worker")[0]
    probe = Script("probe", f"{prelude}\nreturn append('low', 'a', 'b')", "0" * 40)
    async with open_moved(redis_url) as moved:
        fill = Script("fill", "return redis.call('XADD', KEYS[1] .. ':runs:low', ARGV[4], 'a', 'b')", "0" * 40)
        far = 2**41
        await moved.client.run(fill, f"{far}-{number - 1}")
        added = [await moved.client.run(probe) for _ in range(3)]
        tokens = [token_of("low", str(entry)) for entry in added]
        assert tokens == sorted(set(tokens))
        assert [entry_of(token)[1] for token in tokens] == added
        assert tokens[0] > token_of("low", f"{far}-{2**19 - 1}") or number < 2**19
