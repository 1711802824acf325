"""Code sees the change that it has requested, until a reading of the store shows the result."""

from __future__ import annotations

from task_manager_core.application.pending import PendingChanges
from task_manager_core.domain.task import TaskDefinition
from tests.application.cluster import KEY, a_task

OLD, NEW = a_task(dynamic=True, kwargs={"age": "old"}), a_task(dynamic=True, kwargs={"age": "new"})


def expected(pending: PendingChanges) -> tuple[TaskDefinition | None, TaskDefinition | None]:
    """The task that code expects if the last reading showed no task, and if it showed the old one."""
    return pending.expected(KEY, None), pending.expected(KEY, OLD)


def test_without_a_pending_change_the_reading_decides() -> None:
    pending = PendingChanges()
    assert (expected(pending), pending.unread()) == ((None, OLD), set())


def test_an_addition_keeps_a_stored_task_unless_a_removal_came_before_it() -> None:
    pending = PendingChanges()
    pending.add(NEW)
    assert (expected(pending), pending.unread()) == ((NEW, OLD), {KEY})
    pending.remove(KEY)
    assert expected(pending) == (None, None)
    pending.add(NEW)
    assert expected(pending) == (NEW, NEW)


def test_an_addition_that_replaces_is_expected_instead_of_the_stored_task() -> None:
    pending = PendingChanges()
    pending.add(NEW, replace=True)
    assert (pending.replaces(NEW), pending.replaces(OLD), expected(pending)) == (True, False, (NEW, NEW))
    restore = pending.copy()
    pending.added(NEW)
    assert (pending.replaces(NEW), expected(pending)) == (False, (NEW, NEW))
    pending.read(pending.answered())
    assert expected(pending) == (None, OLD)
    restore()
    assert pending.replaces(NEW)
    pending.remove(KEY)
    assert (pending.replaces(NEW), expected(pending)) == (False, (None, None))


def test_an_answer_counts_until_a_reading_that_began_after_it() -> None:
    pending = PendingChanges()
    pending.add(NEW)
    before = pending.answered()
    pending.added(NEW)
    pending.read(before)
    assert (expected(pending), pending.is_pending(KEY)) == ((NEW, NEW), False)
    pending.read(pending.answered())
    assert (expected(pending), pending.unread()) == ((None, OLD), set())
    pending.remove(KEY)
    before = pending.answered()
    pending.removed(dict(pending.removals))
    pending.read(before)
    assert (expected(pending), pending.is_pending(KEY)) == ((None, None), False)
    pending.read(pending.answered())
    assert (expected(pending), pending.unread()) == ((None, OLD), set())


def test_two_readings_that_overlap_end_an_answer_once() -> None:
    pending = PendingChanges()
    pending.remove(KEY)
    pending.removed(dict(pending.removals))
    first, second = pending.answered(), pending.answered()
    pending.read(first)
    pending.read(second)
    assert pending.unread() == set()


def test_a_newer_answer_needs_a_reading_of_its_own() -> None:
    pending = PendingChanges()
    pending.remove(KEY)
    pending.removed(dict(pending.removals))
    reading = pending.answered()
    pending.add(NEW)
    pending.added(NEW)
    pending.read(reading)
    assert expected(pending) == (NEW, NEW)


def test_a_stored_task_that_differs_ends_the_pending_addition() -> None:
    pending = PendingChanges()
    pending.add(NEW)
    pending.kept(NEW)
    assert (expected(pending), pending.unread()) == ((None, OLD), set())


def test_a_change_requested_while_the_store_answers_stays_pending() -> None:
    pending = PendingChanges()
    pending.remove(KEY)
    sent = dict(pending.removals)
    pending.add(OLD)
    pending.remove(KEY)
    pending.removed(sent)
    assert (list(pending.removals), expected(pending)) == ([KEY], (None, None))
    pending = PendingChanges()
    pending.add(OLD)
    pending.remove(KEY)
    pending.added(OLD)
    assert (list(pending.removals), expected(pending)) == ([KEY], (None, None))
