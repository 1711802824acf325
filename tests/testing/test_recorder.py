"""Recorder: an observer that keeps the events (`domain.events`)."""

from __future__ import annotations

import pytest

from task_manager_core.domain.events import TermEnded, TermWon, TickRecovered
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import LeadershipTransition, Term
from task_manager_core.ports import Observer
from task_manager_core.testing import Recorder

NODE = NodeId("node")
WON = TermWon(node=NODE, term=Term(NODE, 1))
ENDED = TermEnded(node=NODE, term=Term(NODE, 1), transition=LeadershipTransition.RESIGNED)


def test_it_keeps_events_in_order() -> None:
    recorder = Recorder()
    observer: Observer = recorder
    for event in (WON, ENDED, WON):
        observer.notice(event)
    assert recorder.events == [WON, ENDED, WON]
    assert recorder.of(TermWon) == [WON, WON]
    assert recorder.one(TermEnded) == ENDED


def test_one_is_exactly_one() -> None:
    recorder = Recorder()
    recorder.notice(WON)
    recorder.notice(WON)
    for kind in (TermWon, TickRecovered):
        with pytest.raises(AssertionError, match=kind.__name__):
            recorder.one(kind)
    recorder.clear()
    assert recorder.events == []
