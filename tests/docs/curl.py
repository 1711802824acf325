"""The curl commands of a page as requests, with the answers that the page shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx

ANYTHING = "…"
ADDRESS = "localhost:8000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command, and the JSON that the page shows below it (None: the page shows none)."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None
    answer: object

    async def sent(self, client: httpx.AsyncClient) -> object:
        response = await client.request(self.method, self.path, headers=self.headers, content=self.body)
        assert response.is_success, response.text
        return response.json()


def requests_in(page: str) -> Iterator[Request]:
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            if part.startswith("curl "):
                command, shown = _ended(part.replace("\\\n", " "))
                yield _request(command, json.loads(shown) if shown.strip() else None)


def _ended(text: str) -> tuple[str, str]:
    """The command, which ends with the first line end outside quotes, and the text after it."""
    lines = text.split("\n")
    for count in range(1, len(lines) + 1):
        command = "\n".join(lines[:count])
        if command.count("'") % 2 == 0:
            return command, "\n".join(lines[count:])
    raise AssertionError(f"a quote is open: {text}")


def _request(command: str, answer: object) -> Request:
    words = iter(shlex.split(command)[1:])
    method, path, body, headers = "GET", "", None, {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word.startswith(ADDRESS):
            path = word.removeprefix(ADDRESS)
        else:
            assert word == "-s", command
    return Request(method=method, path=path, headers=headers, body=body, answer=answer)


def fits(answer: object, shown: object) -> bool:
    """Does the answer have all that the page shows? The page may leave members out, and may show … for any value."""
    if shown == ANYTHING:
        return answer is not None
    if isinstance(shown, Mapping):
        return isinstance(answer, Mapping) and all(name in answer and fits(answer[name], shown[name]) for name in shown)
    if isinstance(shown, list):
        return isinstance(answer, list) and len(answer) == len(shown) and all(map(fits, answer, shown))
    return answer == shown
