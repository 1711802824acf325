"""Traces with the real SDK of OpenTelemetry."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import fastapi_task_manager
from fastapi_task_manager import RunState, TaskGroup, TaskManager, tracing
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import build
from tests.waiting import wait_until_async

LONG = 30.0


class Exporter(InMemorySpanExporter):
    def named(self, name: str) -> list[ReadableSpan]:
        found = [span for span in self.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Generator[Exporter]:
    """An SDK with an exporter in memory, instead of the provider of the process."""
    exporter, provider = Exporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


@asynccontextmanager
async def running(group: TaskGroup, backend: OpenBackend | None = None, **settings: Any) -> AsyncGenerator[TaskManager]:
    _, manager = build(group, backend=backend, tracing=True, **settings)
    await manager.start()
    try:
        yield manager
    finally:
        await manager.stop()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def links(span: ReadableSpan) -> dict[object, tuple[int, int]]:
    """What each link is to, and where."""
    return {
        dict(link.attributes or {})["task_manager.link"]: (link.context.trace_id, link.context.span_id)
        for link in span.links
    }


def place(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


async def test_a_retried_run_on_two_nodes_is_linked_spans(open_backend: OpenBackend, exporter: Exporter) -> None:
    """The first node fails and stops, and the second one executes the retry: both know only the store."""
    failed = asyncio.Event()

    def group_of(node: str) -> TaskGroup:
        group = TaskGroup("g")

        @group.add_task(name="n", retry_backoff=1.0)
        async def work() -> None:
            if node == "first":
                failed.set()
                raise ValueError("no luck")
            with trace.get_tracer("application").start_as_current_span("inner"):
                pass

        return group

    async with running(group_of("first"), open_backend) as first:
        with trace.get_tracer("application").start_as_current_span("request") as request:
            run = await first.trigger(("g", "n"))
        await asyncio.wait_for(failed.wait(), LONG)
        await wait_until_async(lambda: bool(exporter.named("process g/n")), "the first attempt has ended")
        async with running(group_of("second"), open_backend) as second:
            await first.stop()
            assert await second.run_handle(("g", "n"), run.run_id).wait(LONG) is RunState.SUCCEEDED

    (dispatch,) = exporter.named("dispatch g/n")
    one, two = exporter.named("process g/n")
    assert (dispatch.kind, one.kind, two.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CONSUMER)
    assert dispatch.parent == request.get_span_context()
    assert one.parent is None
    assert two.parent is None
    assert len({place(span)[0] for span in (dispatch, one, two)}) == 3, "each attempt has a trace of its own"
    assert links(one) == {"dispatch": place(dispatch)}
    assert links(two) == {"dispatch": place(dispatch), "previous_attempt": place(one)}
    (inner,) = exporter.named("inner")
    assert inner.parent == two.get_span_context(), "a span of the function is a child of its attempt"
    assert [attributes(span)["task_manager.attempt"] for span in (one, two)] == [1, 2]
    assert len({attributes(span)["task_manager.worker"] for span in (one, two)}) == 2
    for span in (dispatch, one, two):
        shown = attributes(span)
        assert shown["messaging.system"] == "task_manager"
        assert shown["messaging.destination.name"] == "g/n"
        assert shown["messaging.message.id"] == run.run_id
    assert one.status.status_code is StatusCode.ERROR
    assert attributes(one)["error.type"] == "ValueError"
    assert [event.name for event in one.events] == ["exception"]
    assert two.status.status_code is StatusCode.UNSET


async def test_the_run_of_a_slot_is_linked_to_its_dispatch(open_backend: OpenBackend, exporter: Exporter) -> None:
    group = TaskGroup("g")
    group.add_task("* * * * * *", name="n")(lambda: None)
    async with running(group, open_backend):
        await wait_until_async(lambda: bool(exporter.named("process g/n")), "a slot has run")
    process = exporter.named("process g/n")[0]
    dispatches = {place(span): span for span in exporter.named("dispatch g/n")}
    dispatch = dispatches[links(process)["dispatch"]]
    assert dispatch.parent is None
    for span in (dispatch, process):
        assert attributes(span)["faas.trigger"] == "timer"
    assert attributes(dispatch)["task_manager.slot"] == attributes(process)["task_manager.slot"]
    assert attributes(process)["task_manager.lateness_ms"] >= 0


async def test_a_span_is_current_in_a_thread(exporter: Exporter) -> None:
    group = TaskGroup("g")
    seen: list[tuple[int, int]] = []

    @group.add_task(name="n")
    def work() -> None:
        context = trace.get_current_span().get_span_context()
        seen.append((context.trace_id, context.span_id))

    async with running(group) as manager:
        await (await manager.trigger(("g", "n"))).wait(LONG)
    (process,) = exporter.named("process g/n")
    assert seen == [place(process)]


async def test_an_attempt_that_is_cancelled_is_no_error(exporter: Exporter) -> None:
    group = TaskGroup("g")
    begun = asyncio.Event()

    @group.add_task(name="n")
    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with running(group) as manager:
        run = await manager.trigger(("g", "n"))
        await asyncio.wait_for(begun.wait(), LONG)
        await run.cancel()
        assert await run.wait(LONG) is RunState.CANCELLED
    (process,) = exporter.named("process g/n")
    assert process.status.status_code is StatusCode.UNSET
    assert attributes(process)["task_manager.interruption"] == "cancelled"


async def test_an_exception_that_cannot_be_shown_is_on_its_span(exporter: Exporter) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    group = TaskGroup("g")

    @group.add_task(name="n", max_retries=0)
    async def work() -> None:
        raise Mute

    async with running(group) as manager:
        assert await (await manager.trigger(("g", "n"))).wait(LONG) is RunState.FAILED
    (process,) = exporter.named("process g/n")
    assert attributes(process)["error.type"].endswith("Mute")


async def test_an_error_of_the_tracing_is_no_failure_of_the_task(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    group = TaskGroup("g")
    group.add_task(name="n")(lambda: None)
    monkeypatch.setattr(tracing, "_of_attempt", lambda attempt: 1 / 0)
    async with running(group) as manager:
        assert await (await manager.trigger(("g", "n"))).wait(LONG) is RunState.SUCCEEDED
    assert "an attempt is not traced" in caplog.text


async def test_without_an_sdk_runs_have_no_trace(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    group.add_task(name="n")(lambda: None)
    async with running(group, open_backend) as manager:
        assert await (await manager.trigger(("g", "n"))).wait(LONG) is RunState.SUCCEEDED


async def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fastapi_task_manager, "tracing")
    monkeypatch.delitem(sys.modules, "fastapi_task_manager.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    _, manager = build(tracing=True)
    with pytest.raises(ImportError, match=r"hexagonal-task-manager\[otel\]"):
        await manager.start()


def test_the_tracing_is_imported_only_if_it_is_on() -> None:
    """In a new interpreter. FastAPI itself may import OpenTelemetry."""
    program = """
import asyncio, sys
from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore
from fastapi import FastAPI

async def main():
    manager = TaskManager(FastAPI(), OperationalConfig(), backend=MemoryStore().open)
    group = TaskGroup("g")
    group.add_task(name="n")(lambda: None)
    manager.add_task_group(group)
    await manager.start()
    await (await manager.trigger(("g", "n"))).wait(20)
    await manager.stop()

asyncio.run(main())
assert "fastapi_task_manager.tracing" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
