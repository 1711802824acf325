"""A store whose names collide, to be named on a command line."""

from __future__ import annotations

from tests.testing.broken.backend import joined, renamed, sqlite

conformance_harness = sqlite(renamed(joined(":")))
