"""Finds what a crash left: reads each second's range of ids some time later, and again later still for late commits; what is still
open gets a row with a time. `republish` then publishes what is due.

Reading is cheap and safe to repeat: cursors are kept in the store, rows are kept once, and publishing twice is what repeats are for.
"""

from collections.abc import Sequence

import structlog

from push_core.clock import Clock, WallMs
from push_core.ids import first_id_at
from push_core.messages.port import Later, Messages, Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Queues

log = structlog.get_logger(__name__)
FOUND = 1
"""`tries` of a row that the relay made. A row of somebody who knows that nothing is queued (an unconfirmed publish, a call without an
answer) starts at 0 and is published at once when due."""


class Relay:
    def __init__(
        self,
        messages: Messages,
        queues: Queues,
        metrics: Metrics,
        clock: Clock,
        *,
        lags_s: Sequence[float],
        gap_s: float,
        page: int,
    ) -> None:
        self._messages = messages
        self._metrics = metrics
        self._queues = queues
        self._clock = clock
        self._lags_ms = [int(lag * 1_000) for lag in lags_s]
        self._gap_ms = int(gap_s * 1_000)
        self._page = page
        self._incarnation = ""

    async def run_once(self) -> int:
        """Every reading up to its lag; how many open deliveries were found. Raises Unavailable; cursors hold what was done."""
        now = self._clock.wall_ms()
        found = await self._after_broker_loss(now)
        for lag_ms in self._lags_ms:
            found += await self._read(f"relay.{lag_ms}", now - lag_ms, due=now + self._gap_ms)
            self._metrics.gauge(Metric.DI_RELAY_READ, now // 1_000, reading=str(lag_ms))
        return found

    async def _read(self, name: str, until: WallMs, *, due: WallMs) -> int:
        cursor = await self._messages.cursor(name)
        last = first_id_at(until) - 1
        if last <= cursor:
            return 0
        found = await self._find(cursor + 1, last, due=due, tries=FOUND, replace=False)
        await self._messages.move_cursor(name, last)
        return found

    async def _find(self, first: int, last: int, *, due: WallMs, tries: int, replace: bool) -> int:
        after = (0, "")
        found = 0
        while True:
            rows = await self._messages.open_between(first, last, after=after, limit=self._page)
            if rows:
                await self._messages.put_later(
                    [
                        Later(
                            id=message_id,
                            app=app,
                            device=device,
                            task=Task.REPUBLISH,
                            due=due,
                            tries=tries,
                            replace=replace,
                        )
                        for message_id, app, device in rows
                    ]
                )
                found += len(rows)
                after = rows[-1][0], rows[-1][2]
            if len(rows) < self._page:
                return found

    async def _after_broker_loss(self, now: WallMs) -> int:
        """A broker that may have lost what it held: all that is open is due at once. The store remembers which lives of the broker were seen."""
        incarnation = self._queues.incarnation()
        if incarnation == self._incarnation:
            return 0
        name = f"relay.broker.{incarnation}"
        found = 0
        if await self._messages.cursor(name) == 0:
            # Older ones that are open have their rows already, put there by the slowest reading.
            first = min([await self._messages.cursor(f"relay.{lag_ms}") for lag_ms in self._lags_ms])
            found = await self._find(first + 1, first_id_at(now + 1) - 1, due=now, tries=0, replace=True)
            await self._messages.move_cursor(name, now)
            if found:
                log.warning("broker started anew, open deliveries are published again", deliveries=found)
        self._incarnation = incarnation
        return found
