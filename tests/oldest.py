"""Prints a constraints file with the oldest versions that pyproject.toml permits: `python tests/oldest.py`.

`make check-oldest` installs them and runs the tests. A promise about versions is worth nothing if no test tries them.
This program runs before anything is installed, and needs the standard library only.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = ("redis", "fastapi", "testing")
"""What users install. The tools of `dev` check the code, and are no promise to anybody."""

_BOUND = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]*\])?\s*(?:>=|~=|==)\s*(?P<version>[\w.]+)")


def oldest() -> Iterator[tuple[str, str]]:
    """Name and oldest version of every dependency of the package and its extras. Errors: ValueError without a bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in (*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])):
        bound = _BOUND.match(requirement)
        if bound is None:
            raise ValueError(f"{requirement!r} has no lower bound: the oldest version that works is unknown")
        yield bound["name"], bound["version"]


def main() -> None:
    for name, version in oldest():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
