"""The values that the settings accept, and the secrets that they never show."""

from __future__ import annotations

import ssl
from datetime import timedelta

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from task_manager_core.domain.errors import DefinitionError
from task_manager_redis import RedisSettings, SentinelSettings, redis_backend
from task_manager_redis.driver import connect, secrets_of

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host/0",
        f"postgres://:{SECRET}@host:5432",
        f"redis:/{SECRET}",
        f"redis://:a#{SECRET}@host:6379/0",
        f"redis://:a/{SECRET}@host:6379/0",
        f"redis://:a?{SECRET}@host:6379/0",
        f"redis://host:port{SECRET}",
        f"REDIS//{SECRET}",
    ],
)
def test_a_wrong_url_names_the_field_and_no_secret(url: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        RedisSettings(url=url)
    assert caught.value.field == "redis_host"
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_the_error_for_a_url_in_the_field_host_names_the_field_url() -> None:
    with pytest.raises(DefinitionError) as caught:
        RedisSettings(host=f"redis://:{SECRET}@host:6379/0")
    assert caught.value.field == "redis_host"
    assert SECRET not in str(caught.value)


def test_an_option_that_no_connection_takes_is_refused_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        redis_backend(RedisSettings(url=f"redis://:{SECRET}@localhost/0?no_such_option=1"))
    assert "no_such_option" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        RedisSettings(password=SECRET),
        RedisSettings(url=f"redis://user:{SECRET}@localhost:6379/0"),
        RedisSettings(url=f"redis://localhost:6379/0?password={SECRET}"),
        RedisSettings(sentinel=SentinelSettings(hosts=(("localhost", 26379),), service="main", password=SECRET)),
        RedisSettings(host=SECRET, password=SECRET),
        RedisSettings(host=f"db.{SECRET}.example", username=SECRET, password=SECRET),
        RedisSettings(url=f"redis://user:{SECRET}@{SECRET}:6379/0"),
        RedisSettings(sentinel=SentinelSettings(hosts=((SECRET, 26379),), service=SECRET, password=SECRET)),
    ],
)
def test_no_secret_is_shown(settings: RedisSettings) -> None:
    assert SECRET not in repr(settings)
    assert SECRET not in settings.address
    assert secrets_of(settings) == (SECRET,)


def test_contradictions_are_refused() -> None:
    sentinel = SentinelSettings(hosts=(("localhost", 26379),), service="main")
    for wrong in (
        lambda: RedisSettings(prefix=""),
        lambda: RedisSettings(cluster=True, sentinel=sentinel),
        lambda: RedisSettings(cluster=True, url="unix:///tmp/redis.sock"),
        lambda: RedisSettings(timeout=timedelta(0)),
        lambda: SentinelSettings(hosts=(), service="main"),
        lambda: RedisSettings(url="redis://host/abc"),
        lambda: RedisSettings(url="redis://host/1/2"),
        lambda: RedisSettings(url="redis://host", tls=True),
        lambda: RedisSettings(url="unix:///run/redis.sock", tls=True),
    ):
        with pytest.raises(DefinitionError):
            wrong()


async def test_a_url_overrides_the_fields_and_the_fields_give_the_missing_parts() -> None:
    settings = RedisSettings(
        url="rediss://me@server:7000/3?ssl_cert_reqs=none&socket_timeout=90",
        password=SECRET,
        db=5,
        tls_ca_file="ca.pem",
    )
    assert settings.address == "rediss://server:7000/3"
    driver = connect(settings, timeout=timedelta(seconds=1), connections=4)
    pool = driver.connection_pool  # type: ignore[attr-defined]
    assert issubclass(pool.connection_class, SSLConnection)
    given = pool.connection_kwargs
    assert (given["host"], given["port"], given["db"], given["username"]) == ("server", 7000, 3, "me")
    assert given["password"] == SECRET
    assert given["ssl_ca_certs"] == "ca.pem"
    assert given["ssl_cert_reqs"] in {"none", ssl.CERT_NONE}
    assert given["socket_timeout"] == 1.0
    await driver.aclose()


@pytest.mark.parametrize(
    ("url", "host", "port", "address"),
    [
        ("redis://server", "server", 7000, "redis://server:7000"),
        ("redis://server:1/2", "server", 1, "redis://server:1/2"),
        ("rediss://:1", "field", 1, "rediss://field:1"),
        ("redis:///2", "field", 7000, "redis://field:7000/2"),
        ("redis://[::1]", "::1", 7000, "redis://[::1]:7000"),
    ],
)
async def test_host_and_port_that_a_url_leaves_out_come_from_the_fields(
    url: str, host: str, port: int, address: str
) -> None:
    settings = RedisSettings(url=url, host="field", port=7000)
    assert settings.address == address
    driver = connect(settings, timeout=None, connections=4)
    given = driver.connection_pool.connection_kwargs  # type: ignore[attr-defined]
    assert (given["host"], given["port"]) == (host, port)
    await driver.aclose()


async def test_a_socket_of_this_machine() -> None:
    driver = connect(RedisSettings(url="unix:///run/redis.sock?db=2"), timeout=None, connections=4)
    pool = driver.connection_pool  # type: ignore[attr-defined]
    assert issubclass(pool.connection_class, UnixDomainSocketConnection)
    assert (pool.connection_kwargs["path"], pool.connection_kwargs["db"]) == ("/run/redis.sock", 2)
    await driver.aclose()


async def test_a_cluster_with_tls() -> None:
    driver = connect(RedisSettings(host="server", tls=True, cluster=True), timeout=None, connections=4)
    assert isinstance(driver, RedisCluster)
    await driver.aclose()
