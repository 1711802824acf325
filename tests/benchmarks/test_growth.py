"""Every row of the costs that must not grow can be measured."""

from __future__ import annotations

import pytest

from tests.benchmarks.growth import growth
from tests.redis_server import RedisServer


async def test_every_row_has_a_figure_for_each_size(
    own_redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await growth(own_redis_server, (10, 30))
    rows = [line for line in capsys.readouterr().out.splitlines() if " ms of " in line]
    assert len(rows) >= 5
    assert all(row.count(" ms of ") == 2 for row in rows)
