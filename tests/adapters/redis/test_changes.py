"""A reader of the catalogue learns the changes since its version, or everything if the store has not kept all of
them."""

from __future__ import annotations

import pytest
import redis

from task_manager_core.testing.conformance.catalogue import CatalogueReader, load, written
from task_manager_core.testing.conformance.factories import definition, key, task
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.driver import Argument
from task_manager_redis.replies import Reply
from task_manager_redis.scripts import Script
from tests.adapters.redis.shifted_time import PREFIX, ShiftedRedis

CHANGES = f"{{{PREFIX}}}:chain"


async def a_reader(store: Store) -> CatalogueReader:
    for name in ("a", "b", "c"):
        await store.define(task(name))
    reader = CatalogueReader(store)
    await reader.catch_up()
    return reader


@pytest.mark.parametrize("what", ["remove", "retire", "change"])
@pytest.mark.parametrize("then", [True, False], ids=["and then a newer one", "last"])
async def test_a_change_of_an_older_release_costs_a_complete_reading(
    store: Store, server: redis.Redis, what: str, then: bool
) -> None:
    """The older release writes no change. Newer releases beside it do, before and after it."""
    reader = await a_reader(store)
    if what == "remove":
        await store.catalogue.remove([key("a")])
    elif what == "retire":
        await store.catalogue.retire(await store.lead(), [key("a")])
    else:
        await written(store, definition(task("a", description="n"), expected=(await store.view(key("a"))).version))
    assert server.xdel(CHANGES, server.xinfo_stream(CHANGES)["last-generated-id"]) == 1
    if then:
        await store.define(task("d"))
    assert (await load(store, reader.version)).complete
    await reader.catch_up()
    assert reader.knows() == await CatalogueReader.of_everything(store)
    await store.define(task("e"))
    assert not (await load(store, reader.version)).complete


async def test_a_store_that_was_set_back_and_written_to_is_read_from_the_beginning(
    store: Store, server: redis.Redis
) -> None:
    reader = await a_reader(store)
    copy = {name: server.dump(name) or b"" for name in server.keys("*")}
    await store.catalogue.remove([key("a")])
    await store.define(task("lost"))
    await reader.catch_up()
    server.flushall()
    for name, dumped in copy.items():
        server.restore(name, 0, dumped)
    await store.define(task("new"))
    assert (await load(store, reader.version)).complete
    await reader.catch_up()
    assert reader.knows() == await CatalogueReader.of_everything(store)
    assert reader.knows()[0].keys() == {key(name) for name in ("a", "b", "c", "new")}


async def test_a_store_that_fell_back_right_after_many_changes_gives_no_version_twice(
    store: Store, server: redis.Redis
) -> None:
    await store.catalogue.put([definition(task(f"{number}")) for number in range(1000)])
    reader = CatalogueReader(store)
    copy = {name: server.dump(name) or b"" for name in server.keys("*")}
    await store.catalogue.remove([key("1")])
    await store.define(task("lost"))
    await reader.catch_up()
    server.flushall()
    for name, dumped in copy.items():
        server.restore(name, 0, dumped)
    await store.catalogue.remove([key("2")])
    await store.define(task("new"))
    await reader.catch_up()
    assert reader.knows() == await CatalogueReader.of_everything(store)


async def test_a_reading_amid_which_everything_was_lost_tells_nothing_of_what_was(
    store: Store, shifted: ShiftedRedis, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.catalogue.put([definition(task(f"{number}")) for number in range(450)])
    run, pages = shifted.client.run, 0

    async def run_and_lose(script: Script, *arguments: Argument) -> Reply:
        nonlocal pages
        reply = await run(script, *arguments)
        pages += script.name == "load"
        if script.name == "load" and pages == 1:
            server.flushall()
        return reply

    monkeypatch.setattr(shifted.client, "run", run_and_lose)
    changes = await load(store, -1)
    assert pages > 1
    assert (changes.incarnation, changes.total, changes.keys) == (0, 0, frozenset())


async def test_changes_that_are_lost_cost_one_complete_reading(store: Store, server: redis.Redis) -> None:
    reader = await a_reader(store)
    server.delete(CHANGES)
    assert await store.catalogue.load(reader.version) is None
    await store.define(task("d"))
    assert not (await load(store, reader.version)).complete
    server.delete(CHANGES)
    assert (await load(store, reader.version)).complete
    await reader.catch_up()
    await store.define(task("e"))
    assert not (await load(store, reader.version)).complete


async def test_many_changes_come_in_pages_and_a_late_page_counts(store: Store) -> None:
    reader = await a_reader(store)
    many = [task(f"{number}") for number in range(450)]
    await store.catalogue.put([definition(of) for of in many])
    await store.catalogue.remove([of.key for of in many[::2]])
    await store.catalogue.put([definition(of) for of in many[:10:2]])
    changes = await load(store, reader.version)
    assert (changes.complete, changes.total, len(changes.removed)) == (False, 3 + 225 + 5, 220)
    await reader.catch_up()
    assert reader.knows() == await CatalogueReader.of_everything(store)


async def test_the_chain_begins_again_after_an_item_that_is_not_ours(store: Store, server: redis.Redis) -> None:
    """Also if its id is greater than every version: no id of ours could follow it."""
    reader = await a_reader(store)
    for foreign in ("*", "9999999999999999-0"):
        server.xadd(CHANGES, {"another": "program"}, id=foreign)
        await store.define(task(f"after {foreign}"))
        await reader.catch_up()
        assert reader.knows() == await CatalogueReader.of_everything(store)
        await store.define(task(f"later than {foreign}"))
        assert not (await load(store, reader.version)).complete
        await reader.catch_up()
