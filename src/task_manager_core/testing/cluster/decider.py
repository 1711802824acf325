"""The only source of chance in a simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random  # noqa: TID251 - the only place where a simulation draws random numbers
from typing import TypeVar

_T = TypeVar("_T")


class Decider:
    """Answers every question that is left to chance in production.

    Zero is the calm answer: no preemption, the shortest delay, no fault. There are three ways to answer:

    - `Decider()` is always calm.
    - `Decider(seed)` answers by a pseudo-random sequence: for long campaigns.
    - `Decider(deviations={i: v})` is calm except for the i-th decision (counted from 0), which is v modulo the number
      of options. Hypothesis draws these, because they shrink towards a calm run in which a few decisions matter.

    A question with one option is no decision and is not counted.
    """

    __slots__ = ("_deviations", "_random", "decisions", "seed")

    def __init__(self, seed: int | None = None, *, deviations: Mapping[int, int] | None = None) -> None:
        if seed is not None and deviations is not None:
            msg = "a Decider follows a seed or deviations, not both"
            raise ValueError(msg)
        self.seed = seed
        self.decisions = 0
        self._deviations = dict(deviations or {})
        # `random()` is the one method whose sequence Python promises to keep for a seed in all versions.
        self._random = None if seed is None else Random(seed).random  # noqa: S311 - for tests, not for secrets

    def choose(self, options: int) -> int:
        """A number from 0 to `options` - 1."""
        if options <= 1:
            return 0
        decision = self.decisions
        self.decisions = decision + 1
        if self._random is not None:
            return int(self._random() * options)
        return self._deviations.get(decision, 0) % options

    def between(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included; the calm answer is `low`."""
        return low + self.choose(high - low + 1)

    def pick(self, options: Sequence[_T]) -> _T:
        """One of `options`; the calm answer is the first."""
        return options[self.choose(len(options))]

    def happens(self, one_in: int) -> bool:
        """Whether something happens, once in `one_in` times (0: never, 1: always). The calm answer is no."""
        return self.choose(one_in) == min(1, one_in - 1)

    def __repr__(self) -> str:
        """The expression that makes the same decisions again."""
        if self.seed is not None:
            return f"Decider({self.seed})"
        return f"Decider(deviations={self._deviations})" if self._deviations else "Decider()"
