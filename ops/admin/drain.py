"""What a gateway's admin port shows of its drain, and what may be asked of it there: `taco gateway drain` is its user."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from ops.admin.server import Page
from push_gateway.drain import Drain, Phase
from push_gateway.drain_switch import WITHIN_S, checked

PATH, UNDO = "/debug/drain", "/debug/undrain"
LOOK_S = 0.1


def stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def drain_pages(drain: Drain) -> Mapping[str, Page]:
    async def page(_: Mapping[str, str]) -> Any:
        return drain.progress

    return {PATH: page}


def drain_actions(drain: Drain, stop: Callable[[], None] = stop_this_process) -> Mapping[str, Page]:
    """POST /debug/drain?rate=&over_s=&within_s=&urls=&stop=, POST /debug/undrain."""
    stopping: list[asyncio.Task[None]] = []

    async def begin(query: Mapping[str, str]) -> Any:
        order = order_of(query)
        drain.by_hand(drain.terms(**{"within_s": WITHIN_S, **order}))
        if query.get("stop") == "true" and not stopping:
            stopping.append(asyncio.create_task(_stop_when_empty(drain, stop), name="gateway.drain.stop"))
        return drain.progress

    async def undo(_: Mapping[str, str]) -> Any:
        while stopping:
            stopping.pop().cancel()
        drain.by_hand(None)
        return drain.progress

    return {PATH: begin, UNDO: undo}


def order_of(query: Mapping[str, str]) -> dict[str, Any]:
    """Raises ValueError with a sentence.

    >>> order_of({"rate": "100", "urls": "wss://a/,wss://b/"})
    {'rate': 100, 'urls': ('wss://a/', 'wss://b/')}
    """
    order: dict[str, Any] = {}
    for name in ("rate", "over_s", "within_s"):
        if name in query:
            try:
                order[name] = float(query[name])
            except ValueError:
                raise ValueError(f"{name} must be a number, got {query[name]!r}") from None
    if "urls" in query:
        order["urls"] = [url for url in query["urls"].split(",") if url]
    return checked(order)


async def _stop_when_empty(drain: Drain, stop: Callable[[], None]) -> None:
    while drain.phase is not Phase.EMPTY:  # noqa: ASYNC110 - once in a life
        await asyncio.sleep(LOOK_S)
    stop()
