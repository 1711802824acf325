"""A trace context as text, for traces that go on in another process.

The form is that of the header `traceparent`, version 00, of W3C Trace Context: https://www.w3.org/TR/trace-context/. No
rule depends on it.
"""

from __future__ import annotations

import re

_FORM = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_trace(text: str) -> bool:
    """Is this a trace context? Then it has 55 characters."""
    return _FORM.fullmatch(text) is not None
