"""The store that a command line names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module

import pytest

from task_manager_core.ports import OpenBackend
from task_manager_core.testing.conformance.harness import Harness, clock_harness
from task_manager_core.testing.conformance.laws import one_line

EXPECTED = "MODULE:NAME of an OpenBackend is expected"

HARNESS = "conformance_harness"
"""A function of this name in the module of the store opens an empty store: () -> async context manager of a Harness.

A store needs it if its time is not that of the clock, or if it still has its content when it is opened again.
"""


def opener(named: str) -> Callable[[], AbstractAsyncContextManager[Harness]]:
    """The function that opens the store of MODULE:NAME for a test. Errors: pytest.UsageError."""
    module_name, _, name = named.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # a module may fail in any way while it is imported
        reason = one_line(f"{type(error).__name__}: {error}") if module_name else EXPECTED
        raise pytest.UsageError(f"--backend={named}: {reason}") from error
    own: Callable[[], AbstractAsyncContextManager[Harness]] | None = getattr(module, HARNESS, None)
    if callable(own):
        return own
    open_backend: OpenBackend | None = getattr(module, name, None) if name else None
    if not callable(open_backend):
        raise pytest.UsageError(f"--backend={named}: {EXPECTED}")
    return lambda: clock_harness(open_backend)
