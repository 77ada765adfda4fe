"""Waiting for what another process does (Linux: `/proc`)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

LOOK_AGAIN_S = 0.02


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 30.0) -> None:
    """Return when it holds. Fails the test when that takes too long."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain"
        await asyncio.sleep(LOOK_AGAIN_S)


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached every thread of a process: until then it goes on answering (proc(5), state)."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/stat"))
    return bool(threads) and all(thread.read_text().rpartition(") ")[2].startswith("T") for thread in threads)
