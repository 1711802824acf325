"""The store that `--backend` names, compared with the memory store."""

from __future__ import annotations

from importlib import import_module

import pytest

from task_manager_core.ports import OpenBackend
from task_manager_core.testing.conformance.cli_target import opener
from task_manager_core.testing.conformance.model import ModelContract, OpenHarness


class TestBackendAgainstMemory(ModelContract):
    @pytest.fixture
    def open_harness(self, request: pytest.FixtureRequest) -> OpenHarness:
        backend: str | None = request.config.getoption("--backend", None)
        if backend is None:
            pytest.fail("no --backend=MODULE:NAME")
        return opener(backend)

    @pytest.fixture
    def model(self) -> OpenBackend:
        # Imported by its name, because the core must not depend on a store.
        model: OpenBackend = import_module("task_manager_memory").open_backend
        return model
