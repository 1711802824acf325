"""What code asks for is in sight until the store itself has been read."""

from __future__ import annotations

from task_manager_core.application.pending import PendingChanges
from task_manager_core.domain.task import TaskDefinition
from tests.application.cluster import KEY, a_task

OLD, NEW = a_task(dynamic=True, kwargs={"age": "old"}), a_task(dynamic=True, kwargs={"age": "new"})


def expected(pending: PendingChanges) -> tuple[TaskDefinition | None, TaskDefinition | None]:
    """What code expects if the last reading showed nothing, and if it showed the old task."""
    return pending.expected(KEY, None), pending.expected(KEY, OLD)


def test_without_a_wish_the_reading_is_the_last_word() -> None:
    pending = PendingChanges()
    assert (expected(pending), pending.unread()) == ((None, OLD), set())


def test_an_addition_leaves_what_stands_and_a_removal_before_it_does_not() -> None:
    pending = PendingChanges()
    pending.add(NEW)
    assert (expected(pending), pending.unread()) == ((NEW, OLD), {KEY})
    pending.remove(KEY)
    assert expected(pending) == (None, None)
    pending.add(NEW)
    assert expected(pending) == (NEW, NEW)


def test_an_answer_stays_in_sight_until_a_reading_that_began_after_it() -> None:
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


def test_of_two_readings_that_overlap_the_later_one_ends_an_answer_once() -> None:
    pending = PendingChanges()
    pending.remove(KEY)
    pending.removed(dict(pending.removals))
    first, second = pending.answered(), pending.answered()
    pending.read(first)
    pending.read(second)
    assert pending.unread() == set()


def test_an_answer_that_a_newer_one_replaced_waits_for_a_reading_of_its_own() -> None:
    pending = PendingChanges()
    pending.remove(KEY)
    pending.removed(dict(pending.removals))
    reading = pending.answered()
    pending.add(NEW)
    pending.added(NEW)
    pending.read(reading)
    assert expected(pending) == (NEW, NEW)


def test_another_task_that_stands_ends_the_wish_and_is_what_a_reading_shows() -> None:
    pending = PendingChanges()
    pending.add(NEW)
    pending.kept(NEW)
    assert (expected(pending), pending.unread()) == ((None, OLD), set())


def test_a_wish_that_changed_while_the_store_answered_stands() -> None:
    pending = PendingChanges()
    pending.remove(KEY)
    on_the_way = dict(pending.removals)
    pending.add(OLD)
    pending.remove(KEY)
    pending.removed(on_the_way)
    assert (list(pending.removals), expected(pending)) == ([KEY], (None, None))
    pending = PendingChanges()
    pending.add(OLD)
    pending.remove(KEY)
    pending.added(OLD)
    assert (list(pending.removals), expected(pending)) == ([KEY], (None, None))
