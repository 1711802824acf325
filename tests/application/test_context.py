"""A log record of a task carries the fields of its run, and the fields that the task adds."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from task_manager_core.application.context import ContextLogger, RunContext
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey
from tests.application.cluster import LOGGER

FIELDS: dict[str, object] = {"task": "group/task", "run_id": "r", "slot": None, "attempt": 2, "fencing_token": 7}


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> ContextLogger:
    caplog.set_level(logging.DEBUG, LOGGER.name)
    return ContextLogger(LOGGER, FIELDS)


def test_a_record_has_the_fields_of_the_run_and_those_of_the_caller(
    logger: ContextLogger, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"order": 17}
    logger.info("shipped", extra=own)
    (record,) = caplog.records
    assert {name: getattr(record, name) for name in (*FIELDS, "order")} == {**FIELDS, "order": 17}
    assert own == {"order": 17}
    logger.info("shipped")
    assert not hasattr(caplog.records[1], "order")


def test_a_field_of_the_caller_replaces_a_field_of_the_run_with_the_same_name(
    logger: ContextLogger, caplog: pytest.LogCaptureFixture
) -> None:
    logger.warning("of another", extra={"attempt": "mine"})
    (record,) = caplog.records
    assert (record.attempt, record.task) == ("mine", "group/task")  # type: ignore[attr-defined]  # extra fields
    assert record.getMessage() == "[group/task run r attempt 2] of another"


def test_a_percent_sign_in_the_name_of_a_task_takes_no_argument(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOGGER.name)
    logger = ContextLogger(LOGGER, {**FIELDS, "task": "100%/s"})
    logger.info("%d of %s", 1, "two")
    logger.info("50%d of all")
    assert [record.getMessage() for record in caplog.records] == [
        "[100%/s run r attempt 2] 1 of two",
        "[100%/s run r attempt 2] 50%d of all",
    ]


def test_a_record_names_the_line_of_the_task(logger: ContextLogger, caplog: pytest.LogCaptureFixture) -> None:
    def outer() -> None:
        logger.error("its caller's line", stacklevel=2)

    logger.info("this line")
    try:
        raise ValueError("oh")
    except ValueError:
        logger.exception("this line, with %s", "a traceback")
    outer()
    assert [record.funcName for record in caplog.records] == ["test_a_record_names_the_line_of_the_task"] * 3
    assert {record.filename for record in caplog.records} == {"test_context.py"}
    assert caplog.records[1].exc_info is not None


def test_a_level_that_is_off_costs_nothing(logger: ContextLogger, caplog: pytest.LogCaptureFixture) -> None:
    class Unshown:
        def __str__(self) -> str:
            raise AssertionError("must not be read")

    caplog.set_level(logging.ERROR, LOGGER.name)
    logger.info(Unshown())
    assert caplog.records == []


def test_a_test_makes_a_context_with_the_values_that_matter_to_it(caplog: pytest.LogCaptureFixture) -> None:
    plain = RunContext.for_test()
    assert (plain.task.group, plain.task.name) == ("tests", "task")
    assert (plain.run_id, plain.worker) == ("test-run", "test-worker")
    assert (plain.slot, plain.deadline, plain.attempt, plain.fencing_token) == (None, None, 1, 1)
    assert not plain.cancelled.is_set()
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    given = RunContext.for_test(
        task=("Invoices", "send"), run_id="r", slot=noon, attempt=3, deadline=noon, worker="w", logger=LOGGER
    )
    assert (given.task, given.run_id, given.slot, given.deadline) == (TaskKey("Invoices", "send"), "r", noon, noon)
    assert (given.attempt, given.fencing_token, given.worker) == (3, 3, "w")
    assert RunContext.for_test(task=given.task, fencing_token=7).fencing_token == 7
    caplog.set_level(logging.DEBUG, LOGGER.name)
    given.logger.info("sent")
    assert caplog.messages == ["[Invoices/send run r attempt 3] sent"]


def test_a_context_for_a_test_names_the_value_that_no_run_can_have() -> None:
    naive = datetime(2026, 7, 1)  # noqa: DTZ001 - it is refused for that
    with pytest.raises(DefinitionError, match=r"slot=.*must have a time zone"):
        RunContext.for_test(slot=naive)
    with pytest.raises(DefinitionError, match=r"deadline=.*must have a time zone"):
        RunContext.for_test(deadline=naive)
    with pytest.raises(DefinitionError, match="attempt=0: must be at least 1"):
        RunContext.for_test(attempt=0)
    with pytest.raises(DefinitionError, match="group=''"):
        RunContext.for_test(task=("", "task"))
