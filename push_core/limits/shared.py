"""Tokens of buckets that all processes share: the asks of a moment in one call to the store, and a share of one's own while it is away.

Rates protect; they must not become the outage. A store that is away or slow is left alone for a moment, and each process grants a part of each rate by
itself. Who was refused is refused again from memory until its wait is over: a flood costs the store nothing.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
import structlog

from push_core.batching import Batcher
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.limits.memory import ROUNDING_S, MemoryLimits
from push_core.limits.port import Ask, Limits
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

log = structlog.get_logger(__name__)

LARGEST = 500
BOUND = 10_000
REMEMBERED = 10_000


class SharedBuckets:
    """`timeout_s`: how long the store may take; then, and after a failure, it is left alone for `away_s`, and asks are met by `share` of their
    rate and burst in this process."""

    def __init__(
        self,
        limits: Limits,
        metrics: Metrics,
        *,
        timeout_s: float,
        away_s: float,
        share: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._away_s = away_s
        self._share = share
        self._monotonic = monotonic
        self._own = MemoryLimits(monotonic=monotonic)
        self._away_until = float("-inf")
        self._said_away = False
        self._refused: OrderedDict[str, tuple[float, Ask]] = OrderedDict()  # until when, and what was asked
        self._asks: Batcher[Ask, float] = Batcher(self._take, largest=LARGEST, parallel=2, bound=BOUND, name="limits")

    def refused_s(self, ask: Ask) -> float:
        """Seconds until this may be granted, as far as is known here without asking; 0: ask."""
        refused = self._refused.get(ask.key)
        if refused is None:
            return 0.0
        until, before = refused
        wait = until - self._monotonic()
        if wait <= ROUNDING_S or before.rate_per_s != ask.rate_per_s or before.burst != ask.burst:
            del self._refused[ask.key]
            return 0.0
        return wait if ask.n >= before.n else 0.0

    async def take(self, ask: Ask) -> float:
        """0.0 when granted, else the seconds to wait, as the port says. Never raises for what becomes of the store."""
        wait = self.refused_s(ask)
        if wait > 0:
            return wait
        now = self._monotonic()
        if now < self._away_until:
            wait = self._take_own(ask, now)
        else:
            try:
                wait = await self._asks.submit(ask)
            except Unavailable:
                wait = self._take_own(ask, self._monotonic())
        if wait > 0:
            self._refused[ask.key] = self._monotonic() + wait, ask
            self._refused.move_to_end(ask.key)
            if len(self._refused) > REMEMBERED:
                self._refused.popitem(last=False)
        return wait

    async def close(self) -> None:
        await self._asks.close()

    async def _take(self, asks: Sequence[Ask]) -> list[float]:
        try:
            async with asyncio.timeout(self._timeout_s):
                waits = await self._limits.take(asks)
        except (TimeoutError, Unavailable) as error:
            self._away_until = self._monotonic() + self._away_s
            if not self._said_away:
                log.warning("limits can't be asked; each process grants a share by itself", error=str(error))
            self._said_away = True
            raise DeadlineExceeded("limits can't be asked") from None
        if self._said_away:
            log.info("limits answer again")
        self._said_away = False
        return waits

    def _take_own(self, ask: Ask, now: float) -> float:
        self._metrics.count(Metric.LIMITS_LOCAL)
        share = self._share
        mine = msgspec.structs.replace(ask, rate_per_s=ask.rate_per_s * share, burst=max(1.0, ask.burst * share))
        return self._own.take_one(mine, now)
