"""When acks were in the store, as callers see it: some messages are asked for over the API until it says `delivered`."""

import asyncio
from collections.abc import Callable
from time import monotonic

import msgspec

from bench.lean_http import HttpFailed, LeanHttp

DELIVERED = frozenset({"delivered", "displayed", "clicked"})


class _View(msgspec.Struct):
    state: str


_views = msgspec.json.Decoder(_View)


class StoredWatch:
    """Takes `per_s` of the accepted messages each second and asks for each every `every_s` until its ack is stored. What it measures is the
    time of the answer that said so, hence at most `every_s` and one request too long."""

    def __init__(
        self,
        http: LeanHttp,
        newest: Callable[[], int],
        *,
        per_s: float = 10.0,
        every_s: float = 0.02,
        give_up_s: float = 30.0,
    ) -> None:
        """`newest`: the id that was accepted last; 0 before the first."""
        self._http = http
        self._newest = newest
        self._per_s, self._every_s, self._give_up_s = per_s, every_s, give_up_s
        self._asks: set[asyncio.Task[None]] = set()
        self._chooser: asyncio.Task[None] | None = None
        self.stored: dict[int, float] = {}  # id → when the store had its ack

    def start(self) -> None:
        self._chooser = asyncio.get_running_loop().create_task(self._choose())

    async def finish(self) -> None:
        """Choose no more; wait for the answers of those chosen."""
        if self._chooser is not None:
            self._chooser.cancel()
        while self._asks:
            await asyncio.wait(self._asks)

    async def _choose(self) -> None:
        loop = asyncio.get_running_loop()
        newest = 0
        while True:
            await asyncio.sleep(1 / self._per_s)
            message_id = self._newest()
            if message_id and message_id != newest:
                newest = message_id
                task = loop.create_task(self._ask(message_id))
                self._asks.add(task)
                task.add_done_callback(self._asks.discard)

    async def _ask(self, message_id: int) -> None:
        until = monotonic() + self._give_up_s
        while monotonic() < until:
            if await state_of(self._http, message_id) in DELIVERED:
                self.stored[message_id] = monotonic()
                return
            await asyncio.sleep(self._every_s)


async def state_of(http: LeanHttp, message_id: int) -> str | None:
    """The message's state by the API; None if it has no such message or did not answer."""
    try:
        status, body = await http.request("GET", f"/v1/messages/{message_id}")
    except HttpFailed:
        return None
    return _views.decode(body).state if status == 200 else None


async def states_of(http: LeanHttp, message_ids: list[int], *, at_once: int = 16) -> dict[int, str | None]:
    """States of many messages, `at_once` requests at a time."""
    found: dict[int, str | None] = {}
    waiting = iter(message_ids)

    async def worker() -> None:
        for message_id in waiting:
            found[message_id] = await state_of(http, message_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    return found
