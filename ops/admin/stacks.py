"""What every thread of a process is doing, now or sampled over a while: `?seconds=2` shows where the time goes."""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ops.admin.frames import stack_of
from ops.admin.tasks import number_of
from ops.admin.watchdog import Watchdog

EVERY_S = 0.01
LONGEST_S = 30
SHOWN = 30  # distinct stacks of a sampling, the most frequent


def stacks_page(watchdog: Watchdog | None) -> Callable[[Mapping[str, str]], Any]:
    async def page(query: Mapping[str, str]) -> dict[str, Any]:
        """`{"threads":[{"name","ident","stack"}…],"holds":[…],"samples":[{"thread","count","share","stack"}…]}`: `samples` only with
        `seconds` in the query. The loop's own stack is this page's; what held it before is in `holds`."""
        answer: dict[str, Any] = {
            "threads": threads(),
            "holds": [asdict(hold) for hold in watchdog.holds] if watchdog is not None else [],
        }
        if "seconds" in query:
            seconds = number_of(query, "seconds", 1, LONGEST_S)
            answer["samples"] = await _sampled(seconds)
        return answer

    return page


def threads() -> list[dict[str, Any]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        {"name": names.get(ident, "not Python's"), "ident": ident, "stack": stack_of(frame)}
        for ident, frame in sys._current_frames().items()
    ]


async def _sampled(seconds: int) -> list[dict[str, Any]]:
    """Taken by a thread of its own, so that the loop is seen at work and not at this."""
    done = asyncio.get_running_loop().create_future()
    loop, loop_thread = asyncio.get_running_loop(), threading.get_ident()
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def sample() -> None:
        own = threading.get_ident()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        until = time.monotonic() + seconds
        while time.monotonic() < until and not done.cancelled():
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    name = "event loop" if ident == loop_thread else names.get(ident, "not Python's")
                    found[name, tuple(stack_of(frame))] += 1
            time.sleep(EVERY_S)
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=sample, name="admin.sampling", daemon=True).start()
    await done
    per_thread: Counter[str] = Counter()
    for (thread, _), count in found.items():
        per_thread[thread] += count
    return [
        {"thread": thread, "count": count, "share": round(count / per_thread[thread], 3), "stack": list(stack)}
        for (thread, stack), count in found.most_common(SHOWN)
    ]
