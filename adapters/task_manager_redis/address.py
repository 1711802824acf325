"""The rules for the address of a Redis server, and its text for messages: without its secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)
_DATABASE = re.compile(r"(/\d*)?", re.ASCII)


def is_url(host: str) -> bool:
    return "://" in host


def check_host(host: str) -> None:
    """Check a host name or a URL. Errors: ValueError with a reason that repeats no credentials."""
    if not host or not host.isprintable() or " " in host:
        raise ValueError("must be a host name or a URL, without spaces")
    if is_url(host):
        check_url(host)
    elif "@" in host or "/" in host:
        raise ValueError(f"must be a host name, or a URL with one of {', '.join(SCHEMES)}")
    elif host.count(":") == 1:
        raise ValueError("the port belongs into redis_port, or write a URL: redis://host:port")


def check_url(url: str) -> None:
    """Check a URL. Errors: ValueError with a reason that repeats no credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL that can be read") from None
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise ValueError(f"{scheme_of(url)}: the scheme must be one of {', '.join(SCHEMES)}")
    if parts.fragment or "@" in parts.path + parts.query:
        # An unescaped character of a password moves the other parts of the URL.
        raise ValueError("is not a URL that can be read: special characters of a password are percent-encoded")
    if port == 0:
        raise ValueError("the port must be 1 to 65535")
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        # redis-py would use database 0 without an error.
        raise ValueError(
            f"{parts.scheme}://…: the path is the number of a database, such as {parts.scheme}://host:6379/0"
        )
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("unix://…: the path of the socket is missing")


def scheme_of(url: str) -> str:
    """The scheme of a URL: the only part that a message may show before the other parts are checked."""
    scheme, found, _ = url.partition("://")
    return f"{scheme}://…" if found and _SCHEME.fullmatch(scheme) else "(not a URL)"


def without_secrets(url: str, host: str = "", port: int = 0) -> str:
    """A checked URL without user, password and options. A missing host or port comes from the arguments."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host, port = parts.hostname or host, parts.port or port
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}{parts.path}"


def with_masks(host: str, mask: str) -> str:
    """A checked host name, or a checked URL with this mask for user and password and for the options. An empty mask
    leaves them out."""
    if not is_url(host):
        return host
    parts = urlsplit(host)
    credentials, _, place = parts.netloc.rpartition("@")
    before, behind = mask and credentials and f"{mask}@", mask and parts.query and f"?{mask}"
    return f"{parts.scheme}://{before}{place}{parts.path}{behind}"


def secrets_in(host: str) -> Iterator[str]:
    """The passwords of a checked URL, percent-encoded and decoded. A host name has none."""
    if not is_url(host):
        return
    parts = urlsplit(host)
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    yield from (value for name, value in parse_qsl(parts.query) if "password" in name and value)


def masked(text: str, secrets: Iterable[str | None], mask: str) -> str:
    """The text with a mask for each secret, also where a password was given as a user name, for example. A secret is
    replaced only as a whole word, because a short one may be part of other words."""
    for secret in filter(None, secrets):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", mask, text)
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
