"""Where new ids come from: an issuer number leased from the message store, renewed while the process lives.

The lease counts on monotonic time from before the call that took or renewed it, so a process that was stopped or cut off makes no
id on a lease that another one may hold by now. While there is no lease, `make` raises NotIssuing (503).
"""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import structlog

from push_api.deadlines import within
from push_core.backoff import Backoff
from push_core.clock import Clock, Monotonic, WallMs
from push_core.errors import Unavailable
from push_core.ids import Issuer, NotIssuing
from push_core.messages.port import IssuerLease, Messages

T = TypeVar("T")

log = structlog.get_logger(__name__)

_TRIES = 8  # shards tried before a millisecond is waited out


def holder_name() -> str:
    """A name that no other process, and no other life of this one, has."""
    return f"api-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Issuing:
    """`ttl_s`, `renew_s`, `timeout_s`: seconds of the lease, between renewals, and for one call to the store."""

    def __init__(
        self,
        messages: Messages,
        clock: Clock,
        *,
        ttl_s: float,
        renew_s: float,
        timeout_s: float,
        step_back_ms: int,
        holder: str | None = None,
    ) -> None:
        self._messages = messages
        self._clock = clock
        self._ttl_s = ttl_s
        self._renew_s = min(renew_s, ttl_s / 3)
        self._timeout_s = min(timeout_s, ttl_s / 3)  # a renewal that hangs must leave time for another
        self._step_back_ms = step_back_ms
        self._holder = holder or holder_name()
        self._lease: IssuerLease | None = None
        self._issuer: Issuer | None = None
        self._until: Monotonic = 0.0

    @property
    def held(self) -> bool:
        return self._issuer is not None and self._clock.monotonic() < self._until

    def try_make(self, shards: Sequence[int], now: WallMs) -> int | None:
        """An id in one of the shards, picked at random; None when this millisecond is used up. Raises NotIssuing."""
        issuer = self._issuer
        if issuer is None or self._clock.monotonic() >= self._until:
            raise NotIssuing("no issuer number is held now")
        if not shards:
            raise NotIssuing("this zone owns no shard")
        for _ in range(_TRIES):
            # As random.choice, which costs five times as much: at 10,000 ids a second that shows.
            made = issuer.try_make(shards[int(random.random() * len(shards))], now)  # noqa: S311 - spreads load
            if made is not None:
                return made
            if len(shards) == 1:
                break
        return None

    async def make(self, shards: Sequence[int]) -> int:
        """As `try_make`, waiting for the next millisecond where needed: no longer than the clock may have stepped back."""
        while True:
            made = self.try_make(shards, self._clock.wall_ms())
            if made is not None:
                return made
            await asyncio.sleep(0.001)

    async def take(self) -> None:
        """Take a lease. Raises Unavailable when the store can't be asked or all numbers are held."""
        before = self._clock.monotonic()
        ttl_ms = round(self._ttl_s * 1_000)
        lease = await self._ask(self._messages.lease_issuer(self._holder, now=self._clock.wall_ms(), ttl_ms=ttl_ms))
        self._lease = lease
        self._issuer = Issuer(lease.issuer, lease.high_water_ms, self._step_back_ms)
        self._until = before + self._ttl_s
        log.info("issuer number taken", issuer=lease.issuer, holder=self._holder)

    async def renew(self) -> bool:
        """Renew the lease; False when it is another's now. Raises Unavailable when the store can't be asked."""
        lease, issuer = self._lease, self._issuer
        if lease is None or issuer is None:
            return False
        before = self._clock.monotonic()
        ttl_ms = round(self._ttl_s * 1_000)
        now = self._clock.wall_ms()
        renewed = await self._ask(
            self._messages.renew_issuer(lease, high_water_ms=issuer.newest_ms, now=now, ttl_ms=ttl_ms)
        )
        if renewed is None:
            self._drop("taken by another")
            return False
        self._lease = renewed
        self._until = before + self._ttl_s
        return True

    async def keep(self) -> None:
        """Hold a lease for ever: the loop of a background task, ended by cancelling it."""
        backoff = Backoff(base_s=0.1, max_s=max(0.1, min(1.0, self._renew_s)))
        while True:
            try:
                if self._lease is None:
                    await self.take()
                elif not await self.renew():
                    continue
                backoff.reset()
                await asyncio.sleep(self._renew_s)
            except Unavailable as error:
                if self._lease is not None and self._clock.monotonic() >= self._until:
                    self._drop("ran out")
                log.warning("issuer lease not taken or renewed", reason=error.message)
                await asyncio.sleep(backoff.next_s())

    async def release(self) -> None:
        """Give the number up, so that the next process need not wait for the lease to run out."""
        lease, issuer = self._lease, self._issuer
        self._lease = self._issuer = None
        if lease is None or issuer is None:
            return
        try:
            await self._ask(self._messages.release_issuer(lease, high_water_ms=issuer.newest_ms))
        except Unavailable as error:
            log.warning("issuer number not given back; its lease runs out", reason=error.message)

    async def _ask(self, call: Awaitable[T]) -> T:
        return await within(self._timeout_s, "the message store", call)

    def _drop(self, why: str) -> None:
        log.error("issuer lease lost; no ids are made", issuer=self._lease.issuer if self._lease else None, reason=why)
        self._lease = self._issuer = None
