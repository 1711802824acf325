"""A request that writes a definition writes all of it or nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fastapi_task_manager import TaskGroup
from tests.adapters.fastapi.application import answer, build, serving

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "task_group_name": st.just("Group"),
    "function_name": st.just("work"),
    "cron_expression": st.sampled_from(["0 0 1 1 *", "30 12 24 12 *", "@yearly"]),
    "name": st.sampled_from(["a", "b", "static"]),
    "kwargs": st.sampled_from([{}, {"amount": 1}, {"wrong": 1}]),
    "tags": st.just(["tag"]),
    "retry_backoff": st.sampled_from([1, 5.5, 500]),
    "retry_backoff_max": st.sampled_from([2, 100]),
    "allow_parallel": st.booleans(),
    "timeout": st.sampled_from([1, 0.5]),
    "max_retries": st.integers(0, 5),
    "max_lost_attempts": st.integers(0, 5),
    "max_instances": st.integers(1, 3),
    "expires": st.sampled_from([1, 60.5]),
    "timezone": st.sampled_from(["UTC", "Europe/Rome"]),
}
OPTIONAL = set(GOOD) - {"task_group_name", "function_name", "cron_expression"}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A mostly valid body. A few members may have any value."""
    wild = draw(st.sets(st.sampled_from(sorted(GOOD)), max_size=2))
    left_out = draw(st.sets(st.sampled_from(sorted(OPTIONAL)), max_size=len(OPTIONAL)))
    return {name: draw(ANYTHING if name in wild else good) for name, good in GOOD.items() if name not in left_out}


@given(requests=st.lists(st.tuples(st.sampled_from(["POST", "PUT"]), bodies()), min_size=1, max_size=8))
async def test_a_refused_definition_leaves_nothing_behind_and_an_accepted_one_all_of_it(
    requests: list[tuple[str, dict[str, Any]]],
) -> None:
    """Each request leaves the list unchanged, or adds or replaces exactly the task of its answer."""
    group = TaskGroup("Group")

    @group.add_task("0 0 1 1 *", name="static")
    async def work(amount: int = 0) -> None:
        assert amount >= 0

    app, _ = build(group)
    async with serving(app) as client:
        for method, body in requests:
            before = {task["name"]: task for task in await answer(client, "GET", "/tasks")}
            path = "/tasks" if method == "POST" else "/tasks/Group/a"
            sent = body if method == "POST" else {name: body[name] for name in OPTIONAL & set(body) if name != "name"}
            response = await client.request(method, path, json=sent)
            after = {task["name"]: task for task in await answer(client, "GET", "/tasks")}
            if response.status_code == 200:
                written = response.json()["task_name"]
                assert after.keys() == before.keys() | {written}
                assert method == "PUT" or written not in before
                before[written] = after[written]
            else:
                assert 400 <= response.status_code < 500, response.text
            assert after == before
