"""The internal RPC within one process: the same deadlines, bounds and outcomes as over the network, without one.

Arguments are handed over as they are; they are frozen structs.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from push_core.errors import DeadlineExceeded, Overloaded, Unavailable
from push_core.rpc.in_flight import MAX_IN_FLIGHT, InFlight
from push_core.rpc.port import (
    DEADLINE_S,
    Broadcast,
    Deliver,
    Delivered,
    Kick,
    NodeService,
    Poke,
    Receipt,
    ReceiptsService,
    Subscription,
    Tally,
)
from push_core.rpc.zones import ZoneCaller, Zones

log = structlog.get_logger(__name__)
R = TypeVar("R")


class InprocListener:
    def __init__(
        self, rpc: "InprocRpc", address: str, node: NodeService | None, receipts: ReceiptsService | None, zone: str
    ) -> None:
        self._rpc = rpc
        self._address = address
        self._zone = zone
        self.node = node
        self.receipts = receipts
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        return self._address

    async def start(self) -> None:
        self._rpc.listeners[self._address] = self
        if self.receipts is not None:
            self._rpc.zones.register(self._zone, self._address)

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, wait for those under way, and cancel what is left then (their callers learn: unknown)."""
        self._rpc.listeners.pop(self._address, None)
        self._rpc.zones.unregister(self._zone, self._address)
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=grace_s)
        for call in set(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def run(self, work: Coroutine[Any, Any, R], timeout_s: float) -> R:
        """As a server would: a call that is over time, or whose caller is gone, is cancelled."""
        task = asyncio.get_running_loop().create_task(work, name=f"rpc {self._address}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            task.cancel()
            raise DeadlineExceeded(f"{self._address} did not answer within {timeout_s:.3g} s")
        if task.cancelled():
            raise DeadlineExceeded(f"{self._address} stopped during the call")
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, Overloaded):
            raise Overloaded(f"{self._address}: {error}") from None
        if not isinstance(error, Unavailable):
            log.error("rpc call failed", address=self._address, exc_info=error)
        raise DeadlineExceeded(f"{self._address} failed during the call") from None


class InprocPeers:
    def __init__(self, rpc: "InprocRpc") -> None:
        self._rpc = rpc
        self._in_flight: dict[str, InFlight] = {}
        self._zone_caller = ZoneCaller(rpc.zones, time.monotonic)
        self._closed = False

    async def deliver(self, address: str, call: Deliver, *, timeout_s: float = DEADLINE_S) -> Delivered:
        return await self._call(address, timeout_s, lambda listener: _node(listener).deliver(call))

    async def kick(self, address: str, kicks: Sequence[Kick], *, timeout_s: float = DEADLINE_S) -> list[bool]:
        return await self._call(address, timeout_s, lambda listener: _node(listener).kick(kicks))

    async def poke(self, address: str, pokes: Sequence[Poke], *, timeout_s: float = DEADLINE_S) -> None:
        await self._call(address, timeout_s, lambda listener: _node(listener).poke(pokes))

    async def broadcast(self, address: str, call: Broadcast, *, timeout_s: float = DEADLINE_S) -> list[Tally]:
        return await self._call(address, timeout_s, lambda listener: _node(listener).broadcast(call))

    async def subscribe(
        self, address: str, subscriptions: Sequence[Subscription], *, timeout_s: float = DEADLINE_S
    ) -> list[bool]:
        return await self._call(address, timeout_s, lambda listener: _node(listener).subscribe(subscriptions))

    async def report(
        self, zone: str, receipts: Sequence[Receipt], *, timeout_s: float = DEADLINE_S
    ) -> Sequence[int] | None:
        async def one(address: str, left_s: float) -> Sequence[int] | None:
            return await self._call(address, left_s, lambda listener: _receipts(listener).report(receipts))

        return await self._zone_caller.call(zone, timeout_s, one)

    async def forget(self, address: str) -> None:
        self._in_flight.pop(address, None)

    async def close(self) -> None:
        self._closed = True

    async def _call(
        self, address: str, timeout_s: float, work: "Callable[[InprocListener], Coroutine[Any, Any, R]]"
    ) -> R:
        if self._closed:
            raise Unavailable("the RPC is closed")
        in_flight = self._in_flight.get(address)
        if in_flight is None:
            in_flight = self._in_flight[address] = InFlight(self._rpc.max_in_flight)
        async with in_flight.one(address, timeout_s) as left_s:
            listener = self._rpc.listeners.get(address)
            if listener is None:
                raise Unavailable(f"nobody listens at {address}")
            return await listener.run(work(listener), left_s)


class InprocRpc:
    def __init__(
        self, receipts: Mapping[str, Sequence[str]] | None = None, *, max_in_flight: int = MAX_IN_FLIGHT
    ) -> None:
        self.zones = Zones(receipts)
        self.listeners: dict[str, InprocListener] = {}
        self.max_in_flight = max_in_flight
        self._numbers = itertools.count(1)

    def peers(self) -> InprocPeers:
        return InprocPeers(self)

    def listen(
        self, *, node: NodeService | None = None, receipts: ReceiptsService | None = None, zone: str
    ) -> InprocListener:
        return InprocListener(self, f"inproc:{next(self._numbers)}", node, receipts, zone)


def _node(listener: InprocListener) -> NodeService:
    if listener.node is None:
        raise Unavailable(f"{listener.address} is no node")
    return listener.node


def _receipts(listener: InprocListener) -> ReceiptsService:
    if listener.receipts is None:
        raise Unavailable(f"{listener.address} takes no receipts")
    return listener.receipts
