"""How many calls may be under way to one peer. Waiting for room counts against the call's deadline."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from push_core.errors import Overloaded

MAX_IN_FLIGHT = 64


class InFlight:
    def __init__(self, limit: int = MAX_IN_FLIGHT) -> None:
        self._limit = limit
        self._calls = 0
        self._room = asyncio.Semaphore(limit)

    @property
    def idle(self) -> bool:
        """No call under way and none that waits for room."""
        return self._calls == 0

    @asynccontextmanager
    async def one(self, peer: str, timeout_s: float) -> AsyncIterator[float]:
        """Room for one call; gives the seconds that are left of its time. Raises Overloaded, with nothing sent, when there is no room
        in time."""
        began = time.monotonic()
        self._calls += 1
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._room.acquire()
            except TimeoutError:
                raise Overloaded(f"{peer}: {self._limit} calls are under way already") from None
            try:
                yield max(0.0, timeout_s - (time.monotonic() - began))
            finally:
                self._room.release()
        finally:
            self._calls -= 1
