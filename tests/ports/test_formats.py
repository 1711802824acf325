"""Stored formats change, and releases run side by side (`ports.codec`).

A release reads the texts of earlier releases, ignores the members that later releases add, and refuses the texts of a
later format. Decision 7 has the rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from task_manager_core.domain.duties import Duties, Role
from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.memory import LastSuccess
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, Result
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import codec

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TASK = TaskDefinition(
    key=TaskKey("g", "n"),
    schedule=Schedule.cron("0 12 * * *", jitter=timedelta(seconds=5)),
    function="f",
    kwargs='{"a":1}',
    description="d",
    tags=("t",),
    timeout=timedelta(seconds=2),
    retry=RetryPolicy(max_retries=3, retry_on=("builtins.OSError",)),
)


@dataclass(frozen=True, slots=True)
class Format:
    """A value, and a file with its text in each release, the oldest first. No line of the file is ever changed."""

    value: Any
    encode: Callable[[Any], str]
    decode: Callable[[str], object]
    file: str

    @property
    def texts(self) -> list[str]:
        return (Path(__file__).parent / "formats" / self.file).read_text().splitlines()


FORMATS = {
    "a definition": Format(TASK, codec.encode_task, codec.decode_task, "definition.jsonl"),
    "a definition with an expiry": Format(
        replace(TASK, expires=timedelta(minutes=1)),
        codec.encode_task,
        codec.decode_task,
        "definition_expiry.jsonl",
    ),
    "a definition with a limit of live runs": Format(
        replace(TASK, max_instances=3), codec.encode_task, codec.decode_task, "definition_limit.jsonl"
    ),
    "a run with a limit of live runs": Format(
        replace(TASK, max_instances=3).run_of_slot(NOON, 7), codec.encode_run, codec.decode_run, "run_limit.jsonl"
    ),
    "a run with a trace": Format(
        replace(TASK.run_of_slot(NOON, 7), trace=TRACE), codec.encode_run, codec.decode_run, "run_trace.jsonl"
    ),
    "a run": Format(TASK.run_of_slot(NOON, 7), codec.encode_run, codec.decode_run, "run.jsonl"),
    "a definition with a queue": Format(
        replace(TASK, queue="heavy"), codec.encode_task, codec.decode_task, "definition_queue.jsonl"
    ),
    "a run with a queue": Format(
        replace(TASK, queue="heavy").run_of_slot(NOON, 7), codec.encode_run, codec.decode_run, "run_queue.jsonl"
    ),
    "a line of history": Format(
        AttemptRecord(
            run=RunId("r"),
            slot=NOON,
            attempt=2,
            status=AttemptStatus.FAILED,
            started_at=NOON,
            duration=timedelta(milliseconds=1500),
            worker=NodeId("w"),
            token=9,
            failure=Failure(type="ValueError", message="m", traceback="t"),
        ),
        codec.encode_record,
        codec.decode_record,
        "history.jsonl",
    ),
    "a line of history with a result": Format(
        AttemptRecord(
            run=RunId("r"),
            slot=None,
            attempt=1,
            status=AttemptStatus.SUCCEEDED,
            started_at=NOON,
            duration=timedelta(milliseconds=1500),
            worker=NodeId("w"),
            token=9,
            result=Result(type="dict", size=7, json='{"a":1}'),
        ),
        codec.encode_record,
        codec.decode_record,
        "history_result.jsonl",
    ),
    "a line of history with a trace": Format(
        AttemptRecord(
            run=RunId("r"),
            slot=None,
            attempt=1,
            status=AttemptStatus.SUCCEEDED,
            started_at=NOON,
            duration=timedelta(milliseconds=1500),
            worker=NodeId("w"),
            token=9,
            trace=TRACE,
        ),
        codec.encode_record,
        codec.decode_record,
        "history_trace.jsonl",
    ),
    "a report": Format(
        Progress(done=1.0, total=4.0, text="t", lines=("a", "b")),
        codec.encode_progress,
        codec.decode_progress,
        "report.jsonl",
    ),
    "the last success": Format(
        LastSuccess(slot=NOON, at=NOON), codec.encode_success, codec.decode_success, "success.jsonl"
    ),
    "a skip": Format(
        Skipped(first=NOON, last=NOON, count=1, reason=SkipReason.PAUSED),
        codec.encode_skipped,
        codec.decode_skipped,
        "skip.jsonl",
    ),
    "a presence": Format(
        Presence(
            node=NodeId("w"),
            service="s",
            started_at=NOON,
            tasks=frozenset({TaskKey("g", "n")}),
            functions=frozenset({FunctionKey("g", "f")}),
        ),
        codec.encode_presence,
        codec.decode_presence,
        "presence.jsonl",
    ),
    "a presence with duties": Format(
        Presence(
            node=NodeId("w"),
            service="s",
            started_at=NOON,
            tasks=frozenset(),
            functions=frozenset(),
            duties=Duties(roles=frozenset({Role.EXECUTE}), queues=frozenset({"b", "a"})),
        ),
        codec.encode_presence,
        codec.decode_presence,
        "presence_duties.jsonl",
    ),
}
every_format = pytest.mark.parametrize("name", FORMATS)


def grown(value: object) -> object:
    """The same JSON as a later release may write it: each object has one more member."""
    if isinstance(value, dict):
        return {**{name: grown(item) for name, item in value.items()}, "later": {"a": [1]}}
    if isinstance(value, list):
        return [grown(item) for item in value]
    return value


def of_the_next_format(text: str) -> str:
    return re.sub(r'("v":|^\[)1', r"\g<1>2", text)


@every_format
def test_what_earlier_releases_wrote_is_read(name: str) -> None:
    """A missing member has the meaning of the earlier release: no other limit on losses existed."""
    tested = FORMATS[name]
    assert [tested.decode(text) for text in tested.texts] == [tested.value] * len(tested.texts)


@every_format
def test_what_is_written_now_is_on_record(name: str) -> None:
    """A changed text is a new format. Append it to its file, and consider the releases that run beside this one."""
    assert FORMATS[name].encode(FORMATS[name].value) == FORMATS[name].texts[-1]


@every_format
def test_what_a_later_release_adds_is_passed_over(name: str) -> None:
    tested = FORMATS[name]
    tree = json.loads(tested.texts[-1])
    if name.startswith("a run"):
        tree["retry"] = json.dumps(grown(json.loads(tree["retry"])))
    if isinstance(tree, list):
        tree += [*[None] * (12 - len(tree)), "later"]
    assert tested.decode(json.dumps(grown(tree))) == tested.value


@every_format
def test_a_text_of_a_later_format_is_refused(name: str) -> None:
    tested = FORMATS[name]
    what = name.partition(" with ")[0]
    with pytest.raises(BackendCorrupt, match=f"{what}: written by a newer version"):
        tested.decode(of_the_next_format(tested.texts[-1]))


@every_format
def test_a_later_release_reads_what_this_one_writes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Therefore a release reads a new format before a later release writes it."""
    monkeypatch.setattr("task_manager_core.ports.reader.VERSION", codec.VERSION + 1)
    tested = FORMATS[name]
    assert tested.decode(tested.texts[-1]) == tested.value
    assert tested.decode(of_the_next_format(tested.texts[-1])) == tested.value


@pytest.mark.parametrize("text", ["", "00-0-0-01", TRACE.upper(), TRACE + "-more", "00-" + "0" * 32 + TRACE[35:]])
def test_a_trace_of_another_form_counts_as_none(text: str) -> None:
    """No rule depends on it: no run waits because of it, and no line of history is hidden."""
    for name in ("a run with a trace", "a line of history with a trace"):
        tested = FORMATS[name]
        assert tested.decode(tested.texts[-1].replace(TRACE, text)) == replace(tested.value, trace=None)


@pytest.mark.parametrize(
    ("name", "member", "word"),
    [
        ("a definition", "priority", "urgent"),
        ("a definition", "overlap", "cancel_other"),
        ("a run", "overlap", "cancel_other"),
        ("a line of history", "status", "evaporated"),
        ("a skip", "reason", "weather"),
    ],
)
def test_a_value_of_an_enum_that_only_a_later_release_knows_is_refused(name: str, member: str, word: str) -> None:
    tested = FORMATS[name]
    tree = json.loads(tested.texts[-1])
    if isinstance(tree, list):
        tree[tree.index(tested.value.status.value)] = word
    else:
        tree[member] = word
    with pytest.raises(BackendCorrupt, match=word):
        tested.decode(json.dumps(tree))
