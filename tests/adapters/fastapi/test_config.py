"""Configuration: every default, every refusal and the environment variables. No text shows a secret."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from fastapi_task_manager import Config, OperationalConfig, TaskManager
from fastapi_task_manager.schema.health import ConfigResponse
from task_manager_redis import RedisSettings
from tests.adapters.fastapi.application import PREFIX, QUICK, answer, build, client_of, serving

DEFAULTS = {
    "redis_key_prefix": "fastapi_task_manager.config",
    "concurrent_tasks": 2,
    "statistics_redis_expiration": 432_000,
    "statistics_history_runs": 500,
    "allow_parallel": True,
    "redis_host": "h",
    "redis_port": 6379,
    "redis_password": None,
    "redis_db": 0,
    "poll_interval": 0.1,
    "worker_service_name": "fastapi-task-manager",
    "stream_block_ms": 1000,
    "leader_heartbeat_interval": 3.0,
    "leader_retry_interval": 5.0,
    "reconciliation_interval": 30.0,
    "retry_backoff": 1.0,
    "retry_backoff_max": 60.0,
    "retry_backoff_multiplier": 2.0,
    "running_heartbeat_interval": 3.0,
}

IMPOSSIBLE: dict[str, tuple[Any, ...]] = {
    "redis_key_prefix": ("", "x" * 201, "a\nb", 5),
    "concurrent_tasks": (0, -1, 1.5, "many", 100_001, None),
    "statistics_redis_expiration": (0, -1, 10**30),
    "statistics_history_runs": (0, 10**7),
    "allow_parallel": ("perhaps", 7),
    "poll_interval": (0, -0.1, float("inf"), float("nan"), "soon", 1e12),
    "worker_service_name": ("", "x" * 101, "a\0b"),
    "stream_block_ms": (0, -5, 1e12),
    "leader_heartbeat_interval": (0, -3, float("nan")),
    "leader_retry_interval": (0, -3),
    "leader_deposition_grace": (0, -1, float("nan"), "soon"),
    "reconciliation_interval": (0, -3),
    "keep_ended_tasks": (-1, float("nan"), "soon"),
    "retry_backoff": (0, -1, float("inf"), 0.0001),
    "retry_backoff_max": (0, -1),
    "retry_backoff_multiplier": (0.5, 0, -2, float("nan"), 1001),
    "running_heartbeat_interval": (0, -1),
    "max_retries": (-1, 1.5, 10**9),
    "process_pool_size": (0, 10_001, 1.5),
    "loop_block_warning": (-1, 10**9),
    "loop_block_limit": (-1, 10**9, "never"),
    "max_lost_attempts": (-1, 1.5, 10**9, "never"),
    "timezone": ("Mars/Olympus", "../etc/passwd", ""),
    "refresh_interval": (0, -1),
    "shutdown_timeout": (-1, float("nan")),
    "start_timeout": (0, -1),
    "api_max_body_bytes": (0, 1023, 1_048_577, "many"),
    "roles": ("lead", ["execute", "lead"], 5),
    "queues": ("", "a b", [], 5),
    "keep_log_lines": (2, "perhaps", None),
    "tracing": (2, "perhaps", None),
    "enabled": (2, "perhaps", None),
    "api_trusted_origins": ("console.example", "*", "https://console.example/"),
    "redis_port": (0, 65536, -1, "http"),
    "redis_db": (-1, "first"),
    "redis_tls": ("perhaps",),
    "redis_timeout": (0,),
    "redis_connect_timeout": (-1,),
    "redis_sentinels": ("somewhere", "a:0", "a:99999"),
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASK_MANAGER_REDIS_HOST", raising=False)


def test_the_defaults_are_the_documented_ones() -> None:
    assert Config(redis_host="h").model_dump(include=set(DEFAULTS)) == DEFAULTS


def test_the_redis_host_is_the_only_field_without_a_default() -> None:
    assert [name for name, field in Config.model_fields.items() if field.is_required()] == ["redis_host"]
    with pytest.raises(ValidationError, match="redis_host"):
        Config.model_validate({})
    assert OperationalConfig() == OperationalConfig()


def test_every_field_has_a_line_in_the_table_of_refusals() -> None:
    free_texts = {
        "redis_host",
        "redis_username",
        "redis_password",
        "redis_tls_ca_file",
        "redis_sentinel_service",
        "redis_sentinel_username",
        "redis_sentinel_password",
        "redis_cluster",
    }
    assert set(Config.model_fields) - free_texts == set(IMPOSSIBLE)


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in IMPOSSIBLE.items() for value in values]
)
def test_an_impossible_value_is_refused_with_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"redis_host": "h", field: value})
    message = str(caught.value)
    assert field in message
    if field == "redis_sentinels":  # The value may contain a password.
        assert value not in message
        return
    assert repr(value)[:20] in message or f"{value}" in message


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        (
            {"retry_backoff": 10, "retry_backoff_max": 5},
            ("retry_backoff_max=5.0", "retry_backoff=10.0"),
        ),
        (
            {"poll_interval": 10, "leader_heartbeat_interval": 1},
            ("poll_interval=10.0", "lease of 3.0 s", "leader_heartbeat_interval"),
        ),
        (
            {"leader_deposition_grace": 0.5, "poll_interval": 0.3},
            ("leader_deposition_grace=0.5", "0.6 s (2 × poll_interval)"),
        ),
        (
            {"leader_deposition_grace": 4, "leader_heartbeat_interval": 1},
            ("leader_deposition_grace=4.0", "lease of 3.0 s", "leader_heartbeat_interval"),
        ),
        (
            {"redis_cluster": True, "redis_sentinels": "a:1"},
            ("redis_cluster=True", "redis_sentinels='a:1'"),
        ),
        (
            {"redis_cluster": True, "redis_host": "unix:///run/redis.sock"},
            ("redis_cluster=True", "redis_host='unix:///run/redis.sock'"),
        ),
        ({"roles": "schedule", "queues": "heavy"}, ("queues=['heavy']", "roles=['schedule']")),
        ({"redis_tls": True, "redis_host": "redis://:hunter2@h"}, ("redis_tls=True", "redis_host='redis://h'")),
        ({"redis_tls": True, "redis_host": "unix:///r.sock"}, ("redis_tls=True", "redis_host='unix:///r.sock'")),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_both(
    settings: dict[str, Any], texts: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"redis_host": "h", "redis_password": "hunter2", **settings})
    assert [text for text in texts if text not in str(caught.value)] == []
    assert "hunter2" not in str(caught.value)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="redis_hots"):
        Config.model_validate({"redis_host": "h", "redis_hots": "h"})


def test_an_invalid_assignment_is_refused_and_changes_nothing() -> None:
    config = OperationalConfig()
    with pytest.raises(ValidationError, match="poll_interval"):
        config.poll_interval = -1
    with pytest.raises(ValidationError, match="retry_backoff"):
        config.retry_backoff = 100
    assert (config.poll_interval, config.retry_backoff) == (0.1, 1.0)
    config.poll_interval = 0.2
    assert config.node_policy().poll_interval.total_seconds() == 0.2


def test_every_field_may_come_from_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "redis_key_prefix": "p",
        "concurrent_tasks": "7",
        "allow_parallel": "false",
        "redis_host": "redis.example",
        "redis_port": "7000",
        "redis_password": "hunter2",
        "redis_db": "3",
        "poll_interval": "0.5",
        "max_retries": "4",
        "timezone": "Europe/Rome",
        "start_timeout": "",
        "redis_sentinels": "a:1,b:2",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"TASK_MANAGER_{name.upper()}", value)
    config = Config.model_validate({})
    assert (config.redis_key_prefix, config.concurrent_tasks, config.allow_parallel) == ("p", 7, False)
    assert (config.redis_host, config.redis_port, config.redis_password) == ("redis.example", 7000, "hunter2")
    assert (config.max_retries, config.timezone, config.start_timeout) == (4, "Europe/Rome", None)
    assert Config(redis_host="argument").redis_host == "argument"


def test_an_impossible_value_of_an_environment_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_MANAGER_CONCURRENT_TASKS", "many")
    with pytest.raises(ValidationError, match="concurrent_tasks='many'"):
        OperationalConfig()


@pytest.mark.parametrize(("field", "default"), [("max_retries", 50), ("max_lost_attempts", 5)])
@pytest.mark.parametrize(("given", "expected"), [("none", None), ("None", None), ("0", 0), ("7", 7), ("", "default")])
def test_an_environment_variable_can_say_that_failures_or_losses_have_no_limit(
    monkeypatch: pytest.MonkeyPatch, field: str, default: int, given: str, expected: int | str | None
) -> None:
    monkeypatch.setenv(f"TASK_MANAGER_{field.upper()}", given)
    config = OperationalConfig()
    expected = default if expected == "default" else expected
    assert getattr(config, field) == expected
    assert getattr(config.defaults().retry, field) == expected


@pytest.mark.parametrize("url", ["redis://u:hunter2@h:1/2", "rediss://h", "unix:///run/redis.sock?password=hunter2"])
def test_the_redis_host_may_be_a_url_and_shows_no_credentials(url: str) -> None:
    config = Config(redis_host=url)
    assert config.redis_host == url
    assert "hunter2" not in repr(config) + str(config)


@pytest.mark.parametrize(
    "host",
    [
        "http://u:hunter2@h",
        "u:hunter2",
        "hunter2:6379",
        "hunter2 ",
        "REDIS//h",
        "h:6379",
        "",
        "a b",
        "u:hunter2@h",
        "redis://h:port",
        "redis://u:hun@ter2/#x@h",
        "redis://u:hunter2@h/abc",
        "rediss://u:hunter2@h/1/2",
        "redis://u:hunter2@h/-1",
        "unix://",
        "a\0b",
    ],
)
def test_a_wrong_address_is_refused_by_the_field_name_and_without_credentials(host: str) -> None:
    with pytest.raises(ValidationError, match="redis_host") as caught:
        Config(redis_host=host)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "field", ["redis_password", "redis_username", "redis_sentinel_password", "redis_sentinel_service"]
)
def test_a_text_that_cannot_be_encoded_is_refused_without_showing_a_secret(field: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){field}.*valid unicode") as caught:
        Config.model_validate({"redis_host": "h", field: "hunter2\udcff"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "sentinels", ["redis://u:hunter2@one:26379", "u:hunter2@one:26379", "one:26379,hunter2@two:26379", "one:hunter2"]
)
def test_credentials_among_the_addresses_of_sentinels_are_refused_and_not_shown(sentinels: str) -> None:
    with pytest.raises(ValidationError, match="redis_sentinels") as caught:
        Config(redis_host="h", redis_sentinels=sentinels)
    assert "hunter2" not in str(caught.value)


def test_a_sentinel_may_have_an_address_of_ipv6() -> None:
    sentinel = Config(redis_host="h", redis_sentinels="[::1]:26379, one:26380").redis_settings().sentinel
    assert sentinel is not None
    assert sentinel.hosts == (("::1", 26379), ("one", 26380))


def test_tls_may_be_given_in_the_url_and_in_its_field() -> None:
    settings = Config(redis_host="rediss://h/3", redis_tls=True, redis_tls_ca_file="ca.pem").redis_settings()
    assert (settings.url, settings.tls_ca_file) == ("rediss://h/3", "ca.pem")


def test_a_wrong_scheme_is_named() -> None:
    with pytest.raises(ValidationError, match=r"http://.*redis, rediss, unix"):
        Config(redis_host="http://localhost")


def test_no_secret_is_shown() -> None:
    config = Config(redis_host="h", redis_password="hunter2", redis_sentinel_password="hunter3")
    assert config.redis_password == "hunter2"
    assert "hunter" not in repr(config) + str(config) + repr(config.redis_settings())
    for broken in ({"redis_password": 5}, {"redis_password": "hunter2", "poll_interval": -1}):
        with pytest.raises(ValidationError) as caught:
            Config.model_validate({"redis_host": "h", **broken})
        assert "hunter2" not in str(caught.value)
        assert "=5" not in str(caught.value)


SWAPPED = [
    {"redis_host": "hunter2", "redis_password": "hunter2"},
    {"redis_host": "db.hunter2.example", "redis_username": "hunter2", "redis_password": "hunter2"},
    {"redis_host": "redis://u:hunter2@hunter2:6379/0"},
    {"redis_host": "redis://u:hunter%32@hunter2:6379/0"},
    {"redis_host": "redis://hunter2:hunter2@h?password=hunter2"},
    {"redis_host": "h", "redis_sentinels": "hunter2:26379", "redis_sentinel_password": "hunter2"},
    {"redis_host": "h", "redis_sentinel_service": "hunter2", "redis_password": "hunter2"},
    {"redis_host": "h", "redis_sentinel_username": "hunter2", "redis_sentinel_password": "hunter2"},
]


@pytest.mark.parametrize("given", SWAPPED)
def test_a_password_in_the_wrong_field_is_not_shown(given: dict[str, str]) -> None:
    config = Config.model_validate(given)
    for name, value in given.items():
        assert getattr(config, name) == value
    settings = config.redis_settings()
    texts = [
        repr(config),
        str(config),
        config.model_dump_json(),
        str(config.model_dump()),
        str(config.model_dump(mode="json")),
    ]
    for text in [*texts, repr(settings), repr(settings.sentinel), settings.address]:
        assert "hunter2" not in text
        assert "hunter%32" not in text


def test_a_dump_masks_secrets_and_changes_no_other_value() -> None:
    config = Config(redis_host="redis://u:hunter2@h:1/2?ssl_password=x", redis_password="hunter3", redis_username="u")
    dump = config.model_dump()
    assert dump == json.loads(config.model_dump_json())
    assert (dump["redis_host"], dump["redis_password"]) == ("redis://**********@h:1/2?**********", "**********")
    assert (dump["redis_username"], dump["redis_port"], dump["redis_sentinel_password"]) == ("u", 6379, None)
    assert set(dump) == set(Config.model_fields)
    assert config.model_dump(include={"redis_password", "redis_db"}) == {"redis_password": "**********", "redis_db": 0}
    assert config.model_copy(update={"redis_db": 3}).redis_password == "hunter3"


@pytest.mark.parametrize("field", ["redis_password", "redis_sentinel_password", "redis_host"])
def test_a_dump_with_masks_is_refused_as_a_configuration(field: str) -> None:
    """A login with ten asterisks as the password would fail, and nothing would show the reason."""
    given = {"redis_host": "redis://u:hunter2@h"} if field == "redis_host" else {"redis_host": "h", field: "hunter2"}
    with pytest.raises(ValidationError, match=f"(?s){field}.*holds the mask of a secret"):
        Config(**Config.model_validate(given).model_dump())
    plain = Config(redis_host="h", redis_db=2)
    assert Config(**plain.model_dump()) == plain


@pytest.mark.parametrize("sentinels", [None, "localhost:1"])
async def test_no_secret_is_shown_while_redis_is_unreachable(
    sentinels: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"redis_host": "localhost", "redis_port": 1, "redis_password": "localhost", "redis_sentinels": sentinels}
    app = FastAPI()
    manager = TaskManager(app, Config.model_validate(QUICK | given))
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    with caplog.at_level(logging.DEBUG, "fastapi"):
        async with serving(app) as client:
            for path in ("/health", "/tasks"):
                response = await client.get(path)
                assert response.status_code == 503
                assert "localhost" not in response.text
    assert "connect" in caplog.text or "primary" in caplog.text
    assert "localhost" not in caplog.text


async def test_the_config_route_shows_the_operational_fields_and_no_other() -> None:
    app, _ = build()
    async with client_of(app) as client:
        shown = await answer(client, "GET", "/config")
    assert set(shown) == set(OperationalConfig.model_fields) == set(ConfigResponse.model_fields)
    assert not [name for name in shown if name.startswith("redis_") and name != "redis_key_prefix"]


def test_the_redis_settings_carry_the_values_of_the_config() -> None:
    config = Config(
        redis_host="h", redis_port=1, redis_db=2, redis_username="u", redis_password="p", redis_key_prefix="x"
    )
    assert config.redis_settings() == RedisSettings(host="h", port=1, db=2, username="u", password="p", prefix="x")
    assert Config(redis_host="rediss://h").redis_settings().url == "rediss://h"
    sentinel = Config(redis_host="h", redis_sentinels="a:1, b:2", redis_sentinel_service="s").redis_settings().sentinel
    assert sentinel is not None
    assert (sentinel.hosts, sentinel.service) == ((("a", 1), ("b", 2)), "s")


def test_a_config_becomes_json_and_its_log_text_hides_the_password(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        config = Config(redis_host="redis://u:hunter2@h")
        logging.getLogger("some").debug("%s %r", config, config)
    assert "hunter2" not in caplog.text
    assert json.loads(ConfigResponse.model_validate(config).model_dump_json())["timezone"] == "UTC"


def test_a_subclass_has_defaults_of_its_own_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    class ShopConfig(Config):
        redis_host: str = "localhost"
        redis_key_prefix: str = "shop"

    assert (ShopConfig().redis_host, ShopConfig().redis_key_prefix) == ("localhost", "shop")
    monkeypatch.setenv("TASK_MANAGER_REDIS_KEY_PREFIX", "other")
    assert (ShopConfig().redis_host, ShopConfig().redis_key_prefix) == ("localhost", "other")
    assert TaskManager(config=ShopConfig()).config.redis_key_prefix == "other"
