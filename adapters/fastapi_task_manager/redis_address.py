"""What `redis_host` may hold, and how an address is shown to people: without anything secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix")
MASK = "**********"
"""What is shown in the place of a secret."""

MASKED = "holds the mask of a secret that was shown elsewhere; copy a configuration with model_copy()"

_DATABASE = re.compile(r"(/\d*)?", re.ASCII)


def is_url(host: str) -> bool:
    return "://" in host


def checked_host(host: str) -> str:
    """The host name or URL. Errors: ValueError with a reason that repeats no credentials."""
    if MASK in host:
        raise ValueError(MASKED)
    if not host or not host.isprintable() or " " in host:
        raise ValueError("must be a host name or a URL, without spaces")
    if is_url(host):
        return _checked_url(host)
    if "@" in host or "/" in host:
        raise ValueError(f"must be a host name, or a URL with one of {', '.join(SCHEMES)}")
    if host.count(":") == 1:
        raise ValueError("the port belongs into redis_port, or write a URL: redis://host:port")
    return host


def shown_host(host: str, mask: str = "") -> str:
    """The same without user, password and query, or with a mask where they are."""
    if not is_url(host):
        return host
    parts = urlsplit(host)
    credentials, _, place = parts.netloc.rpartition("@")
    before, behind = mask and credentials and f"{mask}@", mask and parts.query and f"?{mask}"
    return f"{parts.scheme}://{before}{place}{parts.path}{behind}"


def secrets_in(host: str) -> Iterator[str]:
    """The passwords of a URL."""
    if not is_url(host):
        return
    parts = urlsplit(host)
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    yield from (value for name, value in parse_qsl(parts.query) if "password" in name and value)


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, where one is a word of its own: a password that was also given as a name is a
    password."""
    for secret in secrets:
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def sentinel_addresses(text: str) -> tuple[tuple[str, int], ...]:
    """The pairs of "host:port,host:port". Errors: ValueError."""
    addresses: list[tuple[str, int]] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        host, colon, port = item.rpartition(":")
        if "@" in item or "/" in item:
            raise ValueError(
                "an address of a sentinel is host:port; its credentials belong into redis_sentinel_username and "
                "redis_sentinel_password"
            )
        if not host or not colon or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise ValueError("an address of a sentinel is host:port")
        addresses.append((host.removeprefix("[").removesuffix("]"), int(port)))
    return tuple(addresses)


def _checked_url(host: str) -> str:
    try:
        parts = urlsplit(host)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL that can be read") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{parts.scheme}://…: the scheme must be one of {', '.join(SCHEMES)}")
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError("is not a URL that can be read: special characters of a password are percent-encoded")
    if port == 0:
        raise ValueError("the port must be 1 to 65535")
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        raise ValueError(
            f"{parts.scheme}://…: the path is the number of a database, such as {parts.scheme}://host:6379/0"
        )
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("unix://…: the path of the socket is missing")
    return host
