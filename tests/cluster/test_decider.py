"""The decider answers calmly, by a seed, or by deviations."""

from __future__ import annotations

import pytest

from task_manager_core.testing.cluster.decider import Decider


def test_a_decider_without_a_seed_is_calm() -> None:
    calm = Decider()
    assert [calm.choose(7) for _ in range(20)] == [0] * 20
    assert calm.between(3, 9) == 3
    assert calm.pick("abc") == "a"
    assert not calm.happens(2)
    assert calm.decisions == 23


def test_a_question_with_one_option_is_no_decision() -> None:
    decider = Decider(deviations={0: 1})
    assert decider.choose(1) == 0
    assert decider.happens(1)
    assert not decider.happens(0)
    assert decider.decisions == 0
    assert decider.choose(2) == 1


def test_a_deviation_is_taken_modulo_the_number_of_options() -> None:
    assert [Decider(deviations={0: 5}).choose(options) for options in (2, 3, 4, 6)] == [1, 2, 1, 5]


def test_a_seed_gives_all_options_a_chance_and_always_the_same_answers() -> None:
    first, again = Decider(9), Decider(9)
    answers = [first.between(-1, 3) for _ in range(200)]
    assert answers == [again.between(-1, 3) for _ in range(200)]
    assert set(answers) == {-1, 0, 1, 2, 3}


def test_the_repr_of_a_decider_decides_the_same() -> None:
    for decider in (Decider(), Decider(7), Decider(deviations={3: 1})):
        again: Decider = eval(repr(decider))
        assert [again.choose(5) for _ in range(9)] == [decider.choose(5) for _ in range(9)]


def test_a_decider_follows_a_seed_or_deviations() -> None:
    with pytest.raises(ValueError, match="not both"):
        Decider(1, deviations={})
