"""Emptying a node: each device is asked to connect elsewhere (`migrate`) while this connection still serves, at the set rate; who has not
gone a while after it was asked is closed with 4100. The thin loop around `push_gateway.departures`."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog

from push_core.metrics.catalogue import Metric
from push_gateway.connection import Connection
from push_gateway.context import Context
from push_gateway.departures import Departures, Terms
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.frames import Migrate

log = structlog.get_logger(__name__)

TICK_S = 0.05
AT_ONCE = 256  # connections handled before the loop gets its turn
LOOK_S = 0.5  # how often it looks for devices that have signed in since it began
REASON = "this gateway is being emptied"


class Moving:
    """One emptying; make it on the loop. `run` ends when nobody is left or the time is over; cancelled, it leaves everybody where they are."""

    def __init__(self, context: Context, terms: Terms) -> None:
        self._context = context
        self._terms = terms
        self._now = context.clock.monotonic
        self._began = self._now()
        self._departures = Departures(terms, self._began)
        self._waiting: deque[Connection] = deque()
        self._asked: deque[tuple[float, Connection]] = deque()  # with the time until which each may stay
        self._known: set[Connection] = set()  # those of both
        self._looked = 0.0
        self.end = self._began + terms.within_s
        """When its time is over; may be brought forward."""
        self.moved = 0
        """Asked to go so far."""
        self.closed = 0
        """Of those, closed because they did not."""

    @property
    def progress(self) -> Mapping[str, Any]:
        return {
            "left": len(self._context.registry.signed),
            "asked": self.moved,
            "closed": self.closed,
            "seconds": round(self._now() - self._began, 1),
            "rate": self._terms.rate,
        }

    async def run(self) -> bool:
        """Whether all have gone."""
        connections = self._context.registry.connections
        log.info("emptying this node", sessions=len(self._context.registry.signed), rate=self._terms.rate)
        while connections and (now := self._now()) < self.end:
            self._turn(now)
            await asyncio.sleep(min(TICK_S, max(0.0, self.end - self._now())))
        log.info("emptied", asked=self.moved, closed=self.closed, left=len(connections))
        return not connections

    async def send_away(self) -> None:
        """The time is over. Whoever is still here is closed; by their `retry_after_ms` they come elsewhere at the rate."""
        now = self._now()
        for place, connection in enumerate(list(self._context.registry.signed.values())):
            self.closed += 1
            connection.close(CloseCode.MIGRATE, REASON, retry_after_ms=self._departures.retry_ms(place, now))
            if place % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)

    def _turn(self, now: float) -> None:
        if not self._waiting and now - self._looked >= LOOK_S:
            self._looked = now
            new = [each for each in self._context.registry.signed.values() if each not in self._known]
            self._waiting.extend(new)
            self._known.update(new)
        for _ in range(self._departures.due(len(self._waiting), now)):
            self._ask(now)
        while self._asked and self._asked[0][0] <= now:
            _, connection = self._asked.popleft()
            self._known.discard(connection)
            if connection.is_signed:
                self.closed += 1
                connection.close(CloseCode.MIGRATE, REASON)

    def _ask(self, now: float) -> None:
        """The next one that is still here; who left by itself takes no turn."""
        while self._waiting:
            connection = self._waiting.popleft()
            if connection.is_signed:
                connection.say(Migrate(urls=self._terms.urls, spread_ms=round(TICK_S * 1_000)))
                self._asked.append((now + self._terms.leave_s, connection))
                self.moved += 1
                self._context.counters.add(Metric.GW_MOVED)
                return
            self._known.discard(connection)
