"""The text form of every stored value (`ports.codec`, `ports.reader`).

A written value is read back unchanged, and any other text is BackendCorrupt.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.policy import LONGEST_TIME, CatchUp, CatchUpMode, Overlap, Priority, RetryPolicy
from task_manager_core.domain.recurrence import At, Every, Fold, Gap, Rule
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, Run
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import codec, definition_text

MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
keys = st.builds(TaskKey, names, names)
instants = st.integers(-(10**12), 10**14).map(lambda value: EPOCH + value * MILLISECOND)
times = st.integers(1, LONGEST_TIME // MILLISECOND).map(lambda value: value * MILLISECOND)
traces = st.from_regex("00-[1-9a-f]{32}-[1-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from(["cron", "every", "at"]))
    if kind == "at":
        return At(instants=tuple(draw(st.lists(instants, min_size=1, max_size=3))))
    if kind == "every":
        seconds = draw(st.integers(1, 86400))
        return Every(interval=timedelta(seconds=seconds), phase=draw(st.integers(0, seconds * 1000 - 1)) * MILLISECOND)
    text = draw(st.sampled_from(["* * * * *", "0 12 * * mon", "*/5 * * * * *", "@daily", "H H * * *"]))
    schedule = Schedule.cron(
        text,
        timezone=draw(st.sampled_from(["UTC", "Europe/Rome", "Australia/Lord_Howe"])),
        gap=draw(st.sampled_from(Gap)),
        fold=draw(st.sampled_from(Fold)),
        hash_seed=draw(names) if "H" in text else None,
    )
    return schedule.rules[0]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    bounds = sorted(draw(st.lists(instants, min_size=2, max_size=2, unique=True)))
    with contextlib.suppress(DefinitionError):
        return Schedule(
            rules=tuple(draw(st.lists(rules(), min_size=1, max_size=3))),
            start_at=draw(st.none() | st.just(bounds[0])),
            end_at=draw(st.none() | st.just(bounds[1])),
            jitter=draw(st.integers(0, 86_400_000)) * MILLISECOND,
        )
    assume(False)
    raise AssertionError


@st.composite
def retries(draw: st.DrawFn) -> RetryPolicy:
    initial, maximum = sorted((draw(times), draw(times)))
    return RetryPolicy(
        initial=initial,
        maximum=maximum,
        multiplier=draw(st.floats(1, 1000) | st.integers(1, 1000)),
        jitter=draw(st.floats(0, 1)),
        max_retries=draw(st.none() | st.integers(0, 10**6)),
        max_lost_attempts=draw(st.none() | st.integers(0, 10**6)),
        retry_on=tuple(draw(st.lists(texts, max_size=2))),
        no_retry_on=tuple(draw(st.lists(texts, max_size=2))),
    )


_tasks = st.builds(
    TaskDefinition,
    key=keys,
    schedule=schedules(),
    function=names,
    kwargs=texts,
    description=st.none() | texts,
    tags=st.lists(names, max_size=3).map(tuple),
    priority=st.sampled_from(Priority),
    overlap=st.sampled_from(Overlap),
    catch_up=st.builds(
        CatchUp, mode=st.sampled_from(CatchUpMode), window=times, limit=st.integers(1, 500), grace=times
    ),
    retry=retries(),
    timeout=st.none() | times,
    start_deadline=st.none() | times,
    expires=st.none() | times,
    run_on_start=st.booleans(),
    dynamic=st.booleans(),
)
tasks = _tasks | st.builds(
    lambda task, most: replace(task, overlap=Overlap.ALLOW, max_instances=most), _tasks, st.integers(1, 10_000)
)
runs = st.builds(
    Run,
    id=st.builds(RunId, texts),
    task=keys,
    slot=st.none() | instants,
    function=texts,
    kwargs=texts,
    priority=st.sampled_from(Priority),
    overlap=st.sampled_from(Overlap),
    retry=retries(),
    timeout=st.none() | times,
    version=st.integers(0, 2**60),
    start_by=st.none() | instants,
    max_instances=st.none() | st.integers(1, 10_000),
    trace=st.none() | traces,
)
records = st.builds(
    AttemptRecord,
    run=st.builds(RunId, texts),
    slot=st.none() | instants,
    attempt=st.integers(1, 10**9),
    status=st.sampled_from(AttemptStatus),
    started_at=instants,
    duration=st.timedeltas(timedelta(0), timedelta(days=1000)),
    worker=st.builds(NodeId, texts),
    token=st.integers(0, 2**62),
    failure=st.none() | st.builds(Failure, type=texts, message=texts, traceback=texts),
    trace=st.none() | traces,
)
skips = st.builds(
    Skipped, first=instants, last=instants, count=st.integers(1, 10**6), reason=st.sampled_from(SkipReason)
)
presences = st.builds(
    Presence,
    node=st.builds(NodeId, texts),
    service=texts,
    started_at=instants,
    tasks=st.frozensets(keys, max_size=3),
    functions=st.frozensets(st.builds(FunctionKey, names, names), max_size=3),
    overran=st.frozensets(st.builds(RunId, texts), max_size=3),
)

KINDS: dict[str, tuple[st.SearchStrategy[object], Callable[..., str], Callable[[str], object]]] = {
    "a definition": (tasks, codec.encode_task, codec.decode_task),
    "a run": (runs, codec.encode_run, codec.decode_run),
    "a line of history": (records, codec.encode_record, codec.decode_record),
    "a skip": (skips, codec.encode_skipped, codec.decode_skipped),
    "a presence": (presences, codec.encode_presence, codec.decode_presence),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@given(st.data())
def test_a_written_value_is_read_back(kind: str, data: st.DataObject) -> None:
    """Invariant: decode(encode(x)) == x, every writer writes the same text, and the text is valid UTF-8."""
    values, encode, decode = KINDS[kind]
    value = data.draw(values)
    text = encode(value)
    assert decode(text) == value
    assert encode(decode(text)) == text
    text.encode()


@given(tasks)
def test_the_text_of_a_definition_is_one_json(task: TaskDefinition) -> None:
    """Invariant: no spaces, no escaped letters, the same order of members, no member that is null. Another text would
    count as a change."""
    text = codec.encode_task(task)
    members = json.loads(text)
    assert json.dumps(members, separators=(",", ":"), ensure_ascii=False) == text
    assert None not in [*members.values(), *members["schedule"].values()]
    every = [
        "v", "group", "name", "schedule", "function", "kwargs", "description", "tags", "priority", "overlap",
        "catch_up", "retry", "timeout", "start_deadline", "run_on_start", "dynamic", "expires", "max_instances",
    ]  # fmt: skip
    assert list(members) == [name for name in every if name in members]
    assert {"description", "timeout", "start_deadline", "expires", "max_instances"} >= set(every) - set(members)


@given(tasks)
def test_a_recognised_definition_is_answered_for_its_own_text_only(task: TaskDefinition) -> None:
    codec.forget_decoded()
    text, other = codec.encode_task(task), codec.encode_task(replace(task, function=f"{task.function}x"[-200:]))
    codec.recognise(task)
    assert codec.decode_task(text) is task
    assert codec.decode_task(other) is not task
    codec.forget_decoded()
    read = codec.decode_task(text)
    assert (read, read is task) == (task, False)
    codec.recognise(task)
    assert codec.decode_task(text) is read


def test_of_many_texts_the_oldest_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition_text, "MOST_DECODED", 3)
    codec.forget_decoded()
    made = [TaskDefinition(key=TaskKey("g", f"{n}"), schedule=Schedule.at(EPOCH), function="f") for n in range(5)]
    for task in made:
        codec.recognise(task)
    newest_first = reversed(made)
    assert [codec.decode_task(codec.encode_task(task)) is task for task in newest_first] == [True] * 3 + [False] * 2


@every_kind
@given(st.data(), st.integers(codec.VERSION + 1, 10**30))
def test_a_newer_version_is_corrupt_and_never_a_wrong_value(kind: str, data: st.DataObject, version: int) -> None:
    """Invariant: a text of a later format is refused, also if every member can be read."""
    values, encode, decode = KINDS[kind]
    tree = json.loads(encode(data.draw(values)))
    text = json.dumps([version, *tree[1:]] if isinstance(tree, list) else {**tree, "v": version})
    with pytest.raises(BackendCorrupt, match="newer version"):
        decode(text)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def damaged(value: object, data: st.DataObject) -> object:
    """The same JSON with one member, at any depth, replaced by junk or left out."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(value)))
        if data.draw(st.integers(0, 4)) == 0:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: damaged(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], damaged(value[at], data), *value[at + 1 :]]
    return data.draw(JUNK)


@every_kind
@given(st.data())
def test_a_damaged_text_is_corrupt_or_another_valid_value(kind: str, data: st.DataObject) -> None:
    """Invariant: if any member is replaced, the only exception is BackendCorrupt, and no member is dropped."""
    values, encode, decode = KINDS[kind]
    text = json.dumps(damaged(json.loads(encode(data.draw(values))), data))
    with contextlib.suppress(BackendCorrupt):
        value = decode(text)
        assert decode(encode(value)) == value


@every_kind
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | JUNK.map(json.dumps))
def test_junk_is_corrupt(kind: str, junk: str) -> None:
    """Invariant: no text raises anything but BackendCorrupt."""
    _, _, decode = KINDS[kind]
    with pytest.raises(BackendCorrupt, match=kind):
        decode(junk)


@every_kind
@pytest.mark.parametrize("text", ["[" * 100_000, '{"v":1,"a":' + "9" * 5000 + "}", '{"v":0}', '{"v":true}', "null", ""])
def test_texts_that_break_the_reader_of_json_are_corrupt(kind: str, text: str) -> None:
    _, _, decode = KINDS[kind]
    with pytest.raises(BackendCorrupt):
        decode(text)


@pytest.mark.parametrize(
    ("path", "junk"),
    [
        (("tags",), [1]),
        (("tags",), "text"),
        (("retry", "retry_on"), [None]),
        (("retry", "multiplier"), True),
        (("retry", "multiplier"), 10**400),
        (("timeout",), 10**30),
        (("catch_up", "limit"), True),
        (("schedule", "rules", 0, "at"), [0, "x"]),
        (("schedule", "rules", 0, "at"), [0, True]),
        (("schedule", "rules", 0, "at"), [10**18]),
        (("schedule", "start_at"), -(10**18)),
        (("group",), ""),
    ],
)
def test_a_member_of_the_wrong_kind_is_never_read_as_another_value(path: tuple[str | int, ...], junk: object) -> None:
    task = TaskDefinition(key=TaskKey("g", "n"), schedule=Schedule.at(EPOCH), function="f")
    tree = json.loads(codec.encode_task(task))
    place = tree
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = junk
    with pytest.raises(BackendCorrupt):
        codec.decode_task(json.dumps(tree))


@pytest.mark.parametrize("members", [{"tasks": [["", "n"]]}, {"tasks": [["g"]]}, {"functions": [["g", 1]]}])
def test_a_presence_with_invalid_names_is_corrupt(members: dict[str, object]) -> None:
    tree = {"v": 1, "node": "a", "service": "s", "started_at": 0, "tasks": [], "functions": [], **members}
    with pytest.raises(BackendCorrupt):
        codec.decode_presence(json.dumps(tree))


@pytest.mark.parametrize("retry", ["[" * 100_000, "{", "[]", '{"initial":0}'])
def test_a_run_with_a_broken_retry_policy_is_corrupt(retry: str) -> None:
    run = TaskDefinition(key=TaskKey("g", "n"), schedule=Schedule.at(EPOCH), function="f").run_of_request("r", 1)
    tree = {**json.loads(codec.encode_run(run)), "retry": retry}
    with pytest.raises(BackendCorrupt):
        codec.decode_run(json.dumps(tree))


def test_a_run_that_was_written_before_runs_could_expire_never_does() -> None:
    run = TaskDefinition(key=TaskKey("g", "n"), schedule=Schedule.at(EPOCH), function="f").run_of_slot(EPOCH, 1)
    text = codec.encode_run(run)
    assert "start_by" not in text
    assert codec.decode_run(text) == run
    assert codec.decode_run(text).start_by is None


def test_whole_and_broken_numbers_of_one_value_are_one_text() -> None:
    def text(multiplier: float) -> str:
        retry = RetryPolicy(multiplier=multiplier)
        return codec.encode_task(
            TaskDefinition(key=TaskKey("g", "n"), schedule=Schedule.at(EPOCH), function="f", retry=retry)
        )

    assert text(2) == text(2.0)


@given(runs)
def test_the_order_of_the_members_of_a_run_means_nothing(run: Run) -> None:
    """Earlier releases wrote another order. The present one is read in a faster way."""
    text = codec.encode_run(run)
    members = json.loads(text)
    for order in (sorted(members), sorted(members, reverse=True)):
        assert codec.decode_run(json.dumps({name: members[name] for name in order})) == run


@given(instants)
def test_an_instant_survives_as_milliseconds(instant: datetime) -> None:
    """Invariant: instant(milliseconds(x)) == x for whole milliseconds. A part of a millisecond is cut, not rounded."""
    assert codec.instant(codec.milliseconds(instant)) == instant
    assert codec.milliseconds(instant + timedelta(microseconds=999)) == codec.milliseconds(instant)
    assert codec.span(codec.milliseconds(instant)) == instant - EPOCH
