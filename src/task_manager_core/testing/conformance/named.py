"""A store named on a command line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module

import pytest

from task_manager_core.testing.conformance.harness import Harness, clock_harness

HARNESS = "conformance_harness"
"""A function of this name in the module of the store opens an empty one: () -> async context manager of a Harness.

For stores whose time is not the clock's, or that survive being opened again.
"""


def opener(named: str) -> Callable[[], AbstractAsyncContextManager[Harness]]:
    """What opens the store of MODULE:NAME for a test. Errors: pytest.UsageError."""
    module_name, _, name = named.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise pytest.UsageError(f"--backend={named}: {error}") from error
    own: Callable[[], AbstractAsyncContextManager[Harness]] | None = getattr(module, HARNESS, None)
    if own is not None:
        return own
    open_backend = getattr(module, name, None) if name else None
    if open_backend is None:
        raise pytest.UsageError(f"--backend={named}: MODULE:NAME of an OpenBackend is expected")
    return lambda: clock_harness(open_backend)
