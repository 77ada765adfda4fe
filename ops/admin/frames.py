"""Frames and the chains of awaits as lines that a reader can open: `push_api/acceptance.py:120 in _commit`, the innermost last."""

import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

OURS = ("push_core/", "sdk_proto/", "push_gateway/", "push_api/", "dispatcher/", "ops/")
_ROOT = Path(__file__).resolve().parents[2]
_DEEPEST = 60  # of a chain of awaits; deeper ones have a loop in them


def line_of(code: CodeType, number: int) -> str:
    return f"{short_path(code.co_filename)}:{number} in {code.co_qualname}"


def stack_of(frame: FrameType) -> list[str]:
    """The whole stack that a frame stands on."""
    lines = []
    here: FrameType | None = frame
    while here is not None:
        lines.append(line_of(here.f_code, here.f_lineno))
        here = here.f_back
    return lines[::-1]


def waits_of(coroutine: Any) -> list[str]:
    """Where a coroutine waits: each frame down the chain of what awaits what."""
    return [line_of(frame.f_code, frame.f_lineno) for frame in _frames(coroutine)]


def is_ours(line: str) -> bool:
    return line.startswith(OURS)


def innermost_of_ours(lines: list[str]) -> str:
    """The last line of ours; the last of all when none is; "" for none."""
    return next((line for line in reversed(lines) if is_ours(line)), lines[-1] if lines else "")


def _frames(awaited: Any) -> Iterator[FrameType]:
    for _ in range(_DEEPEST):
        frame = (
            getattr(awaited, "cr_frame", None)
            or getattr(awaited, "gi_frame", None)
            or getattr(awaited, "ag_frame", None)
        )
        if frame is None:
            return
        yield frame
        awaited = (
            getattr(awaited, "cr_await", None)
            or getattr(awaited, "gi_yieldfrom", None)
            or getattr(awaited, "ag_await", None)
        )


@lru_cache(maxsize=4_096)
def short_path(path: str) -> str:
    """Below our root, below site-packages, below the standard library: whatever comes first."""
    roots = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib"), str(_ROOT))
    for root in roots:
        if path.startswith(root + "/"):
            return path[len(root) + 1 :]
    for root in sys.path:
        if root and path.startswith(root + "/"):
            return path[len(root) + 1 :]
    return path
