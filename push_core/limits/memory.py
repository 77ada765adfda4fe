"""Limits in this process. A bucket is one number, the moment at which it is full again: a full one needs no entry at all."""

import time
from collections.abc import Callable, Sequence

from push_core.errors import Unavailable
from push_core.limits.port import Ask

SWEPT_AT_ONCE = (
    8  # entries looked at for each ask: more than are made, so that full buckets go sooner than new ones come
)
ROUNDING_S = 1e-6  # what sums of fractions are off by must refuse nobody its last token


class MemoryLimits:
    """At most `size` buckets that are not full; at it the one that was longest without a grant is forgotten, that is: full again."""

    def __init__(self, size: int = 100_000, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._monotonic = monotonic
        self._full_at: dict[str, float] = {}  # in order of the last grant
        self._closed = False

    async def take(self, asks: Sequence[Ask]) -> list[float]:
        now = self._now()
        return [self.take_one(ask, now) for ask in asks]

    async def ping(self) -> None:
        self._now()

    async def close(self) -> None:
        self._closed = True
        self._full_at.clear()

    def __len__(self) -> int:
        return len(self._full_at)

    def _now(self) -> float:
        if self._closed:
            raise Unavailable("limits are closed")
        return self._monotonic()

    def take_one(self, ask: Ask, now: float) -> float:
        """As `take`, for callers of this process that can't wait a turn of the loop."""
        full_at = max(self._full_at.get(ask.key, now), now)
        # A bucket that will be full in t seconds lacks t * rate tokens.
        wait = full_at - now - (ask.burst - min(ask.n, ask.burst)) / ask.rate_per_s
        if wait > ROUNDING_S:
            return wait
        if ask.n > 0:
            self._full_at.pop(ask.key, None)
            self._full_at[ask.key] = full_at + ask.n / ask.rate_per_s
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        for _ in range(SWEPT_AT_ONCE):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._size:
                break
            del self._full_at[oldest]
