"""The tests of tested_application.py, with pytest and pytest-asyncio in its mode "auto"."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from fastapi_task_manager.testing import VirtualClock
from tested_application import Mail, app, get_mail, manager

MIDNIGHT = datetime(2026, 7, 1, tzinfo=UTC)


class Outbox(Mail):
    """Keeps the mail, and fails as often as a test asks for."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failures = 0

    def send(self, text: str) -> None:
        if self.failures and text.startswith("report"):
            self.failures -= 1
            raise ConnectionError("no mail server")
        self.sent.append(text)


@pytest.fixture
async def clock() -> AsyncIterator[VirtualClock]:
    async with manager.testing(now=MIDNIGHT) as clock:
        yield clock


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    outbox = Outbox()
    app.dependency_overrides[get_mail] = lambda: outbox
    yield outbox
    app.dependency_overrides.clear()


async def test_the_report_is_sent_at_six_in_rome(clock: VirtualClock, outbox: Outbox) -> None:
    await clock.advance(hours=3, minutes=59)
    assert "report" not in outbox.sent
    await clock.advance(minutes=1)
    assert outbox.sent.count("report") == 1
    assert outbox.sent.count("sync") == 4 * 360
    assert clock.failures == []


async def test_a_report_that_cannot_be_sent_is_tried_again(clock: VirtualClock, outbox: Outbox) -> None:
    outbox.failures = 2
    await clock.advance(hours=4)
    assert [(run.status, str(run.error)) for run in clock.failures] == [("retried", "no mail server")]
    await clock.advance(minutes=3)
    attempts = [run for run in clock.runs if run.name == "nightly"]
    assert [run.status for run in attempts] == ["retried", "retried", "succeeded"]
    assert [run.started_at.minute for run in attempts] == [0, 1, 3]
    assert outbox.sent.count("report, late") == 1


def test_a_request_runs_the_report_now(outbox: Outbox) -> None:
    with manager.testing(now=MIDNIGHT, eager=True) as clock, TestClient(app) as client:
        answer = client.post("/task-manager/tasks/trigger", params={"task_name": "nightly"})
        assert answer.json()["count"] == 1
        assert outbox.sent == ["report"]
        clock.advance(seconds=20)
        assert outbox.sent == ["report", "sync", "sync"]
