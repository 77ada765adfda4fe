"""Housekeeping at a slow pace: inbox rows past their time, routes of dead nodes, messages past retention. Each call is bounded; what is left
waits for the next."""

from dispatcher.ledger import Ledger
from push_core.clock import Clock
from push_core.ids import first_id_at
from push_core.messages.port import Messages
from push_core.presence.port import Presence


class Sweep:
    """Every method returns whether it found as much as one call takes: then more is left, and the next call should not wait."""

    def __init__(
        self,
        messages: Messages,
        presence: Presence,
        ledger: Ledger,
        clock: Clock,
        *,
        batch: int,
        retention_s: float,
    ) -> None:
        self._messages = messages
        self._presence = presence
        self._ledger = ledger
        self._clock = clock
        self._batch = batch
        self._retention_ms = int(retention_s * 1_000)

    async def expire(self) -> bool:
        ended = await self._messages.expire(now=self._clock.wall_ms(), limit=self._batch)
        self._ledger.note_ended(ended)
        return len(ended) >= self._batch

    async def routes(self) -> bool:
        return await self._presence.sweep(self._batch) >= self._batch

    async def prune(self) -> bool:
        before = first_id_at(self._clock.wall_ms() - self._retention_ms)
        return await self._messages.prune(before, limit=self._batch) >= self._batch
