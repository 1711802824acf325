"""When a failed run is tried again.

delay(k) = min(initial × multiplier^(k-1), maximum) after the k-th failure. `jitter` shortens the delay by at most this
share of it. The jitter is a pure function of (run, k): every process and every replay computes the same instant.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import timedelta

from task_manager_core.domain.identity import RunId
from task_manager_core.domain.policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again after this delay, counted by the store from the moment of settlement."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run has failed for good."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Decides by a retry policy whether and when a failed run is tried again."""

    policy: RetryPolicy

    def after(self, failures: int, run: RunId) -> RetryAfter | GiveUp:
        """Decide after the `failures`-th failure (1 for the first)."""
        if self.policy.max_retries is not None and failures > self.policy.max_retries:
            return GiveUp()
        return RetryAfter(self.delay(failures, run))

    def delay(self, failures: int, run: RunId) -> timedelta:
        """The delay after the `failures`-th failure, within [ideal × (1 - jitter), ideal]."""
        ideal = self.ideal(failures)
        return ideal - ideal * (self.policy.jitter * _fraction(run, failures))

    def ideal(self, failures: int) -> timedelta:
        """The delay without jitter."""
        ratio = self.policy.maximum / self.policy.initial
        exponent = failures - 1
        if self.policy.multiplier > 1.0 and exponent * math.log(self.policy.multiplier) >= math.log(ratio):
            return self.policy.maximum
        return min(self.policy.initial * self.policy.multiplier**exponent, self.policy.maximum)


def _fraction(run: RunId, failures: int) -> float:
    """A number in [0, 1) that depends only on its arguments."""
    digest = hashlib.blake2b(f"{run.value}#{failures}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56
