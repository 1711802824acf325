"""What code asks for is in sight until the store itself has been read."""

from __future__ import annotations

from task_manager_core.application.wishes import Wishes
from task_manager_core.domain.task import TaskDefinition
from tests.application.world import KEY, a_task

OLD, NEW = a_task(dynamic=True, kwargs={"age": "old"}), a_task(dynamic=True, kwargs={"age": "new"})


def sights(wishes: Wishes) -> tuple[TaskDefinition | None, TaskDefinition | None]:
    """What code expects if the last reading showed nothing, and if it showed the old task."""
    return wishes.expected(KEY, None), wishes.expected(KEY, OLD)


def test_without_a_wish_the_reading_is_the_last_word() -> None:
    wishes = Wishes()
    assert (sights(wishes), wishes.unread()) == ((None, OLD), set())


def test_an_addition_leaves_what_stands_and_a_removal_before_it_does_not() -> None:
    wishes = Wishes()
    wishes.add(NEW)
    assert (sights(wishes), wishes.unread()) == ((NEW, OLD), {KEY})
    wishes.remove(KEY)
    assert sights(wishes) == (None, None)
    wishes.add(NEW)
    assert sights(wishes) == (NEW, NEW)


def test_an_answer_stays_in_sight_until_a_reading_that_began_after_it() -> None:
    wishes = Wishes()
    wishes.add(NEW)
    before = wishes.answered()
    wishes.added(NEW)
    wishes.read(before)
    assert (sights(wishes), wishes.is_pending(KEY)) == ((NEW, NEW), False)
    wishes.read(wishes.answered())
    assert (sights(wishes), wishes.unread()) == ((None, OLD), set())
    wishes.remove(KEY)
    before = wishes.answered()
    wishes.removed(dict(wishes.removals))
    wishes.read(before)
    assert (sights(wishes), wishes.is_pending(KEY)) == ((None, None), False)
    wishes.read(wishes.answered())
    assert (sights(wishes), wishes.unread()) == ((None, OLD), set())


def test_of_two_readings_that_overlap_the_later_one_ends_an_answer_once() -> None:
    wishes = Wishes()
    wishes.remove(KEY)
    wishes.removed(dict(wishes.removals))
    first, second = wishes.answered(), wishes.answered()
    wishes.read(first)
    wishes.read(second)
    assert wishes.unread() == set()


def test_an_answer_that_a_newer_one_replaced_waits_for_a_reading_of_its_own() -> None:
    wishes = Wishes()
    wishes.remove(KEY)
    wishes.removed(dict(wishes.removals))
    reading = wishes.answered()
    wishes.add(NEW)
    wishes.added(NEW)
    wishes.read(reading)
    assert sights(wishes) == (NEW, NEW)


def test_another_task_that_stands_ends_the_wish_and_is_what_a_reading_shows() -> None:
    wishes = Wishes()
    wishes.add(NEW)
    wishes.kept(NEW)
    assert (sights(wishes), wishes.unread()) == ((None, OLD), set())


def test_a_wish_that_changed_while_the_store_answered_stands() -> None:
    wishes = Wishes()
    wishes.remove(KEY)
    on_the_way = dict(wishes.removals)
    wishes.add(OLD)
    wishes.remove(KEY)
    wishes.removed(on_the_way)
    assert (list(wishes.removals), sights(wishes)) == ([KEY], (None, None))
    wishes = Wishes()
    wishes.add(OLD)
    wishes.remove(KEY)
    wishes.added(OLD)
    assert (list(wishes.removals), sights(wishes)) == ([KEY], (None, None))
