"""Refuses requests that act and come from a page of another site: a browser sends them with the cookies of its user.

Browsers say where a request comes from, and pages cannot lie about it. `Sec-Fetch-Site` is sent to HTTPS and to
localhost; older browsers, and all of them over plain HTTP, send `Origin` with every request that acts. A client that is
no browser sends neither, and no page can make a browser leave both out. (The same rules as Go's CrossOriginProtection.)
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request

from fastapi_task_manager.api.rejection import RequestRejected
from fastapi_task_manager.origins import DEFAULT_PORTS

_OWN = frozenset({"same-origin", "none"})
"""`none`: the user typed the address."""


class ForeignSite(RequestRejected):
    """A request that acts, from a page of another origin."""

    def __init__(self, origin: str | None) -> None:
        named = "another site" if origin is None else origin[:200]
        super().__init__(403, f"{named} may not act here; api_trusted_origins names the origins that may")


def refuse_foreign_site(request: Request, trusted: frozenset[str]) -> None:
    """Check a request that acts. Errors: ForeignSite."""
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() in trusted:
        return
    fetched_from = request.headers.getlist("sec-fetch-site")
    if fetched_from:
        foreign = not _OWN.issuperset(site.lower() for site in fetched_from)
    else:
        foreign = origin is not None and not _is_own(origin, request)
    if foreign:
        raise ForeignSite(origin)


def _is_own(origin: str, request: Request) -> bool:
    """Is this the origin that the request was sent to? A proxy that forwards the request under another name puts the
    first name into X-Forwarded-Host. A page cannot add this header to a request to another site: its browser asks
    first."""
    scheme, _, place = origin.lower().partition("://")
    return any(_same_place(scheme, place, host) for host in _hosts(request))


def _hosts(request: Request) -> Iterator[str]:
    yield from request.headers.getlist("host")
    for line in request.headers.getlist("x-forwarded-host"):
        yield from (host.strip() for host in line.split(","))


def _same_place(scheme: str, place: str, host: str) -> bool:
    usual = f":{DEFAULT_PORTS.get(scheme, '')}"
    return bool(place) and place.removesuffix(usual) == host.lower().removesuffix(usual)
