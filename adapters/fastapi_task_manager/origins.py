"""Parse `api_trusted_origins`: origins in the form that browsers send."""

from __future__ import annotations

from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def checked_origins(text: str) -> frozenset[str]:
    """The origins of "https://one,https://two:8443". Errors: ValueError."""
    return frozenset(_checked_origin(item.strip()) for item in text.split(",") if item.strip())


def _checked_origin(text: str) -> str:
    origin = text.lower()
    if not _is_origin(origin):
        raise ValueError(
            "an origin is http:// or https:// with a host and, if it has one, a port, and nothing behind it"
        )
    scheme = origin.partition("://")[0]
    return origin.removesuffix(f":{DEFAULT_PORTS[scheme]}")


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
    return named and parts.scheme in DEFAULT_PORTS and text == f"{parts.scheme}://{parts.netloc}"
