"""Many items as several scripts: bounded by number and by bytes, and one that is too large goes alone."""

from __future__ import annotations

import pytest

from task_manager_redis.batches import BYTES_PER_SCRIPT, batches


def argument_of(text: str) -> tuple[str, int]:
    return text, 1


@pytest.mark.parametrize("character", ["x", "é", "🙂", "\ud800"])
def test_batches_are_bounded_by_number_and_by_bytes(character: str) -> None:
    size = BYTES_PER_SCRIPT // 10 // len(character.encode(errors="replace"))
    texts = ["small"] * 7 + [character * size] * 25 + [character * 20 * size] + ["small"] * 3
    found = list(batches(texts, 5, argument_of))
    assert [text for some, _ in found for text in some] == texts
    assert [argument for _, arguments in found for argument in arguments] == [
        argument for text in texts for argument in (text, 1)
    ]
    for some, arguments in found:
        weight = sum(len(text.encode(errors="replace")) for text in some)
        assert len(some) == 1 or weight <= BYTES_PER_SCRIPT
        assert 1 <= len(some) <= 5
        assert len(arguments) == 2 * len(some)
    assert len(found) < 12


def test_nothing_makes_no_batch() -> None:
    assert list(batches([], 5, argument_of)) == []
