"""A store whose names collide, for a command line."""

from __future__ import annotations

from tests.testing.broken.backend import joined, renamed, sqlite

conformance_harness = sqlite(renamed(joined(":")))
