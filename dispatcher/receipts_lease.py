"""This dispatcher's receipts service in presence: a leased node record with its address, by which gateways of the zone find it.

Presence that is away keeps nobody from taking receipts: whoever knows the address goes on, and the record is back with the first
renewal that gets through.
"""

import asyncio
import secrets
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from push_core.errors import DeadlineExceeded, Unavailable
from push_core.presence.port import RECEIPTS, Node, Presence

log = structlog.get_logger(__name__)
T = TypeVar("T")


class ReceiptsLease:
    """One life of one receipts service. `ttl_s`, `renew_s`, `timeout_s`: seconds of the lease, between renewals, and for one call."""

    def __init__(
        self,
        presence: Presence,
        *,
        name: str,
        address: str,
        zone: str,
        ttl_s: float,
        renew_s: float,
        timeout_s: float,
    ) -> None:
        self._presence = presence
        self._ttl_s = ttl_s
        self._renew_s = min(renew_s, ttl_s / 3)
        self._timeout_s = min(timeout_s, ttl_s / 3)  # a renewal that hangs must leave time for another
        self._node = Node(incarnation=secrets.token_hex(8), name=name, address=address, zone=zone, role=RECEIPTS)
        self.held = False
        """Whether presence took it last time."""

    async def renew(self) -> None:
        """Take or renew it once; a failure is logged when it is news."""
        try:
            await self._in_time(self._presence.lease_node(self._node, self._ttl_s), self._timeout_s)
        except Unavailable as error:
            if self.held:
                log.warning("the receipts service is not leased; gateways may not find it", reason=error.message)
            self.held = False
            return
        self.held = True

    async def keep(self) -> None:
        """One step of a loop: waits, then renews."""
        await asyncio.sleep(self._renew_s if self.held else min(1.0, self._renew_s))
        await self.renew()

    async def release(self, timeout_s: float) -> None:
        """Gateways that look from now on find the others."""
        self.held = False
        try:
            await self._in_time(self._presence.release_node(self._node.incarnation), timeout_s)
        except Unavailable as error:
            log.warning("the lease of the receipts service was not given back; it runs out", reason=error.message)

    async def _in_time(self, call: Awaitable[T], timeout_s: float) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError:
            raise DeadlineExceeded(f"presence: no answer within {timeout_s:g} s") from None
