"""Telling presence of connections that ended, many at a time. Presence compares first, so a late word does no harm; a lost one is
corrected by whoever finds the stale route."""

import asyncio
from collections.abc import Sequence

import structlog

from push_core.batching import Batcher
from push_core.errors import Unavailable
from push_core.presence.port import Presence, Route
from push_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)
LARGEST = 500


class SignOuts:
    def __init__(self, presence: Presence, settings: GatewaySettings) -> None:
        self._presence = presence
        self._timeout_s = settings.store_timeout_s
        self._batches: Batcher[Route, None] = Batcher(
            self._sign_out, largest=LARGEST, parallel=2, bound=settings.sign_out_bound, name="gateway.sign_outs"
        )
        self._over = False

    def add(self, route: Route) -> None:
        if self._over:
            return
        try:
            self._batches.submit(route)
        except Unavailable as error:
            log.warning("a route is left to be corrected by others", error=error.message)

    def stop(self) -> None:
        """The node's lease is about to be given up, and with it every route: tell of no more."""
        self._over = True

    async def close(self) -> None:
        await self._batches.close()

    async def _sign_out(self, routes: Sequence[Route]) -> Sequence[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._presence.sign_out(routes)
        except (TimeoutError, Unavailable) as error:
            log.warning("presence was not told of ended connections", count=len(routes), error=str(error))
        return [None] * len(routes)
