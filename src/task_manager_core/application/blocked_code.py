"""Finds the line of code that blocks an event loop, from the frames of its thread."""

from __future__ import annotations

import asyncio
import sysconfig
import traceback
from pathlib import Path
from types import CodeType, FrameType

import task_manager_core

MOST_CALLS = 12
"""The innermost calls that are shown."""

_OWN = str(Path(task_manager_core.__file__).parent)
_ASYNCIO = str(Path(asyncio.__file__).parent)
_INSTALLED = ("<", *{path for name, path in sysconfig.get_paths().items() if name.endswith("lib")})
"""The beginnings of the names of files that hold no code of the application. Generated code has a name such as
"<string>"."""


def blocked_code(frame: FrameType | None) -> tuple[str, str]:
    """The line that blocks a thread which executes this frame, and the calls that led there.

    The line is the innermost one of the application. If every call is one of an installed package, it is the innermost
    of all.
    """
    frames = _above_the_loop(frame)
    if not frames:
        return "unknown code", ""
    own = next((one for one in frames if not one.f_code.co_filename.startswith(_INSTALLED)), frames[0])
    calls = [traceback.FrameSummary(one.f_code.co_filename, one.f_lineno or 0, _name(one.f_code)) for one in frames]
    stack = "".join(traceback.format_list(calls[:MOST_CALLS][::-1]))
    return f"{own.f_code.co_filename}:{own.f_lineno} in {_name(own.f_code)}", stack


def _above_the_loop(frame: FrameType | None) -> list[FrameType]:
    """The frames of the code that the event loop calls, the innermost first."""
    frames: list[FrameType] = []
    while frame is not None and not frame.f_code.co_filename.startswith(_ASYNCIO):
        if not frame.f_code.co_filename.startswith(_OWN):
            frames.append(frame)
        frame = frame.f_back
    return frames


def _name(code: CodeType) -> str:
    return code.co_qualname
