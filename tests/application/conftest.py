"""A fresh cluster for every test of the services."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.application.cluster import Cluster, open_cluster


@pytest.fixture
async def cluster() -> AsyncGenerator[Cluster]:
    async with open_cluster() as fresh:
        yield fresh
