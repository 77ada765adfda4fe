"""Finds what a crash left: reads each second's range of ids some time later, and again later still for late commits; what is still
open gets a row with a time. `republish` then publishes what is due.

Reading is cheap and safe to repeat: cursors are kept in the store, rows are kept once, and publishing twice is what repeats are for.
"""

import contextlib
import hashlib
from collections.abc import Sequence

import structlog

from push_core.claims.port import Claim, Claims
from push_core.clock import Clock, WallMs
from push_core.errors import Unavailable
from push_core.ids import first_id_at
from push_core.messages.port import Later, Messages, Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Queues

log = structlog.get_logger(__name__)
FOUND = 1
"""`tries` of a row that the relay made. A row of somebody who knows that nothing is queued (an unconfirmed publish, a call without an
answer) starts at 0 and is published at once when due."""


BROKER_CURSOR = "relay.broker"
CLAIM_S = 15.0
"""How long others leave it to one relay to look at everything after a loss."""
_LOW = (1 << 32) - 1


class Relay:
    def __init__(
        self,
        messages: Messages,
        queues: Queues,
        claims: Claims,
        metrics: Metrics,
        clock: Clock,
        *,
        holder: str,
        lags_s: Sequence[float],
        gap_s: float,
        page: int,
        place: str = "",
    ) -> None:
        """`messages` is one store; `place` tells it from the others, where there are several."""
        self._messages = messages
        self._place = place
        self._claims = claims
        self._holder = holder
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
            self._metrics.gauge(Metric.DI_RELAY_READ, now // 1_000, reading=f"{self._place}{lag_ms}")
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
        """A broker that may have lost something: all that is open is looked at at once, and published again unless it is queued still. The store
        remembers which life of the broker was seen last; of several relays one does it."""
        incarnation = self._queues.incarnation()
        if incarnation == self._incarnation:
            return 0
        if await self._seen(incarnation) is None:
            self._incarnation = incarnation
            return 0
        claim = f"relay.broker.{self._place}{incarnation}"
        if not await self._claimed(claim):
            return 0  # another relay is at it: whether it gets to the end is seen next time
        place = await self._seen(incarnation)  # again: it may just have been done
        found = 0
        if place is not None:
            # Older ones that are open have their rows already, put there by the slowest reading.
            first = min([await self._messages.cursor(f"relay.{lag_ms}") for lag_ms in self._lags_ms])
            found = await self._find(first + 1, first_id_at(now + 1) - 1, due=now, tries=FOUND, replace=True)
            await self._messages.move_cursor(BROKER_CURSOR, place)
            if found:
                log.warning("broker lost something, what is open is published again", deliveries=found)
        await self._give_back(claim)
        self._incarnation = incarnation
        return found

    async def _seen(self, incarnation: str) -> int | None:
        """None: this life was seen. Otherwise where the cursor goes when it is. It can only go forward, so that its upper half counts lives and
        its lower one says which."""
        mark = int.from_bytes(hashlib.sha256(incarnation.encode()).digest()[:4], "big")
        cursor = await self._messages.cursor(BROKER_CURSOR)
        return None if cursor & _LOW == mark else ((cursor >> 32) + 1 << 32) | mark

    async def _claimed(self, claim: str) -> bool:
        try:
            return (await self._claims.take([claim], self._holder, CLAIM_S)) == [Claim.GRANTED]
        except Unavailable:
            return True  # twice is better than not at all

    async def _give_back(self, claim: str) -> None:
        with contextlib.suppress(Unavailable):  # it runs out
            await self._claims.give_back([claim], self._holder)
