"""Policies that many tasks share. An equal policy is built and checked once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from task_manager_core.domain.policy import RetryPolicy


@lru_cache(maxsize=1024)
def shared_retry_policy(
    inherited: RetryPolicy,
    initial: timedelta,
    maximum: timedelta,
    max_retries: int | None,
    max_lost_attempts: int | None,
    retry_on: tuple[str, ...],
    no_retry_on: tuple[str, ...],
) -> RetryPolicy:
    """The inherited policy with these values."""
    return replace(
        inherited,
        initial=initial,
        maximum=maximum,
        max_retries=max_retries,
        max_lost_attempts=max_lost_attempts,
        retry_on=retry_on,
        no_retry_on=no_retry_on,
    )
