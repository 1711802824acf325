"""A fresh world for every test of the services."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.application.world import World, a_world


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    async with a_world() as fresh:
        yield fresh
