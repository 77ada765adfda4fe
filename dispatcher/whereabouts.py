"""Where devices are, for a first offer: through a cache, if there is to be one, since a route that is a moment old loses nothing.

Whoever goes by an old one is told so: the gateway says `absent`, or can't be reached, and then the device is looked for again where it is now, past
the cache. That it is nowhere is never remembered: it may just have come. What follows a write (`pokes`) and recalls ask presence itself.
"""

import time
from collections.abc import Callable, Sequence

from push_core.cache import Cache
from push_core.metrics.port import Metrics
from push_core.models import DeviceKey
from push_core.presence.port import Located, Presence


class Whereabouts:
    """`ttl_s` 0: presence is asked each time. While presence is away a route is good for `stale_s` more."""

    def __init__(
        self,
        presence: Presence,
        metrics: Metrics,
        *,
        ttl_s: float,
        stale_s: float,
        size: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presence = presence
        # Without renewal ahead: that would be a call for each turn of the loop in place of one for each batch.
        self._cache: Cache[DeviceKey, Located] | None = (
            Cache(
                presence.locate,
                ttl_s=ttl_s,
                size=size,
                renew=1.0,
                absent=False,
                stale_s=stale_s,
                name="dispatcher.routes",
                metrics=metrics,
                monotonic=monotonic,
            )
            if ttl_s > 0
            else None
        )

    @property
    def may_be_old(self) -> bool:
        """Whether what `first` says is to be looked up again when it turns out to be wrong."""
        return self._cache is not None

    async def first(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        """Raises Unavailable."""
        if self._cache is None:
            return await self._presence.locate(keys)
        return await self._cache.get_many(keys)

    async def now(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        """As presence has it; what was remembered of these is forgotten. Raises Unavailable."""
        if self._cache is not None:
            for key in keys:
                self._cache.invalidate(key)
        return await self._presence.locate(keys)

    async def close(self) -> None:
        if self._cache is not None:
            await self._cache.close()
