"""The calling side of the internal RPC over gRPC: one connection per peer, and the truth about what became of a call."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
import msgspec
import structlog
from grpc import aio

from push_core.errors import DeadlineExceeded, Overloaded, Unavailable
from push_core.fuse import Fuse
from push_core.rpc.grpc_metadata import KEY, TRACE, UNDONE, VERSION, Option, as_dict
from push_core.rpc.in_flight import InFlight
from push_core.rpc.port import DEADLINE_S, Broadcast, Deliver, Delivered, Kick, Poke, Receipt, Subscription, Tally
from push_core.rpc.wire import BROADCAST, DELIVER, KICK, POKE, REPORT, SUBSCRIBE, Method
from push_core.rpc.zones import ZoneCaller

if TYPE_CHECKING:
    from push_core.rpc.grpc import GrpcRpc

log = structlog.get_logger(__name__)
Q = TypeVar("Q")
A = TypeVar("A")

_TRACE_LIMIT = 256
_TOLD = 256  # addresses that were told of in the log

# Refusals that come before the handler looks at the call.
_NOT_DONE = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)


class _Peer:
    """The connection to one address, and the calls under way on it."""

    def __init__(self, address: str, rpc: "GrpcRpc") -> None:
        self.address = address
        self._max_bytes = rpc.max_message_bytes
        shown = ((KEY, rpc.proof), (VERSION, str(rpc.spoken)))
        self._metadata = shown if rpc.proof else shown[1:]
        self._in_flight = InFlight(rpc.max_in_flight)
        self._proved = rpc.certificates is not None
        self._channel = _channel(
            address,
            rpc,
            [
                *rpc.size_options,
                ("grpc.use_local_subchannel_pool", 1),  # else `forget` leaves the connection to a pool of the process
                ("grpc.enable_http_proxy", 0),  # the proxy of the environment is for the outside world
                ("grpc.keepalive_time_ms", 10_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 1_000),  # also the least time that one attempt is given
                ("grpc.max_reconnect_backoff_ms", 2_000),
            ],
        )
        self._connecting: asyncio.Task[bool] | None = None
        self._methods: dict[str, aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._fuse = rpc.fuse
        self._fuses: dict[str, Fuse] = {}  # by method: a node that can't take pushes may be told to end a session

    @property
    def idle(self) -> bool:
        return self._in_flight.idle

    async def call(self, method: Method[Q, A], ask: Q, timeout_s: float, traceparent: str) -> A:
        body = method.encode_ask(ask)
        if len(body) > self._max_bytes:
            raise Unavailable(f"{self.address}: a call of {len(body)} bytes is too large (limit {self._max_bytes})")
        if self._fuse is None:
            answer = await self._made(method.path, body, timeout_s, traceparent)
        else:
            fuse = self._fuses.get(method.name)
            if fuse is None:
                fuse = self._fuses[method.name] = self._fuse(f"rpc.{method.name.lower()}")(self.address)
            answer = await fuse.run(lambda: self._made(method.path, body, timeout_s, traceparent))
        try:
            return method.decode_answer(answer)
        except msgspec.DecodeError as error:
            raise DeadlineExceeded(
                f"{self.address}: {method.path} was answered with what can't be read: {error}"
            ) from None

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        await self._channel.close(None)

    async def _made(self, path: str, body: bytes, timeout_s: float, traceparent: str) -> bytes:
        async with self._in_flight.one(self.address, timeout_s) as left_s:
            began = time.monotonic()
            await self._ready(left_s)
            left_s -= time.monotonic() - began
            return await self._send(path, body, max(left_s, 0.001), traceparent)

    async def _send(self, path: str, body: bytes, timeout_s: float, traceparent: str) -> bytes:
        send = self._methods.get(path)
        if send is None:
            send = self._methods[path] = self._channel.unary_unary(path, None, None)
        # A trace is a caller's word: one that metadata can't carry is left out rather than failing the call.
        traced = (
            traceparent and traceparent.isascii() and traceparent.isprintable() and len(traceparent) <= _TRACE_LIMIT
        )
        metadata = (*self._metadata, (TRACE, traceparent)) if traced else self._metadata
        try:
            return await send(body, timeout=timeout_s, metadata=metadata)
        except aio.AioRpcError as error:
            raise self._outcome(error) from None
        except asyncio.CancelledError:
            # gRPC cancels its calls when the channel is closed under them; only a cancelled caller may see a cancellation.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise DeadlineExceeded(f"{self.address}: the connection was closed during the call") from None
        except aio.UsageError:
            raise Unavailable(f"{self.address}: the connection is closed") from None

    def _outcome(self, error: aio.AioRpcError) -> Unavailable:
        code, details = error.code(), error.details() or ""
        said = f"{self.address}: {code.name.lower()}: {details}"
        if code in _NOT_DONE:
            return Unavailable(said)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and UNDONE in as_dict(error.trailing_metadata()):
            return Overloaded(said)
        if code is grpc.StatusCode.UNAVAILABLE and details.startswith("failed to connect"):
            return Unavailable(said)  # the connection was lost between our look and the send, and none came about again
        return DeadlineExceeded(said)

    async def _ready(self, timeout_s: float) -> None:
        """Raises Unavailable when no connection comes about in time. All calls that wait share one look-out."""
        if self._connecting is None or self._connecting.done():
            if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
                return
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name=f"connect {self.address}")
        connecting = self._connecting
        await asyncio.wait({connecting}, timeout=timeout_s)
        if not connecting.done():
            raise Unavailable(f"{self.address}: no connection within {timeout_s:.3g} s")
        if connecting.cancelled() or not connecting.result():
            certificates = ", or it and we do not trust each other's certificates" if self._proved else ""
            raise Unavailable(f"{self.address}: cannot be reached{certificates}")

    async def _connect(self) -> bool:
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return True
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                return False
            await self._channel.wait_for_state_change(state)


def _channel(address: str, rpc: "GrpcRpc", options: list[Option]) -> aio.Channel:
    credentials = rpc.channel_credentials()
    if credentials is None:
        return aio.insecure_channel(address, options=options)
    if rpc.certificates is not None and rpc.certificates.name:
        options = [*options, ("grpc.ssl_target_name_override", rpc.certificates.name)]
    return aio.secure_channel(address, credentials, options=options)


class GrpcPeers:
    """Connections to at most `max_peers` addresses; beyond it those idle for longest are closed, in case nobody says `forget`."""

    def __init__(self, rpc: "GrpcRpc") -> None:
        self._rpc = rpc
        self._peers: OrderedDict[str, _Peer] = OrderedDict()  # the one used last at the end
        self._closing: set[asyncio.Task[None]] = set()
        self._zone_caller = ZoneCaller(rpc.zones, time.monotonic)
        self._closed = False
        self._told: set[str] = set()  # addresses that were not dialled and told of

    async def deliver(self, address: str, call: Deliver, *, timeout_s: float = DEADLINE_S) -> Delivered:
        return await self._peer(address).call(DELIVER, call, timeout_s, call.traceparent or _traceparent())

    async def kick(self, address: str, kicks: Sequence[Kick], *, timeout_s: float = DEADLINE_S) -> list[bool]:
        return await self._peer(address).call(KICK, list(kicks), timeout_s, _traceparent())

    async def poke(self, address: str, pokes: Sequence[Poke], *, timeout_s: float = DEADLINE_S) -> None:
        await self._peer(address).call(POKE, list(pokes), timeout_s, _traceparent())

    async def broadcast(self, address: str, call: Broadcast, *, timeout_s: float = DEADLINE_S) -> list[Tally]:
        return await self._peer(address).call(BROADCAST, call, timeout_s, call.traceparent or _traceparent())

    async def subscribe(
        self, address: str, subscriptions: Sequence[Subscription], *, timeout_s: float = DEADLINE_S
    ) -> list[bool]:
        return await self._peer(address).call(SUBSCRIBE, list(subscriptions), timeout_s, _traceparent())

    async def report(
        self, zone: str, receipts: Sequence[Receipt], *, timeout_s: float = DEADLINE_S
    ) -> Sequence[int] | None:
        async def one(address: str, left_s: float) -> Sequence[int] | None:
            return await self._peer(address).call(REPORT, list(receipts), left_s, _traceparent())

        return await self._zone_caller.call(zone, timeout_s, one)

    async def forget(self, address: str) -> None:
        peer = self._peers.pop(address, None)
        if peer is not None:
            await peer.close()

    async def close(self) -> None:
        self._closed = True
        for address in list(self._peers):
            await self.forget(address)
        if self._closing:
            await asyncio.wait(self._closing)

    def _peer(self, address: str) -> _Peer:
        if self._closed:
            raise Unavailable("the RPC is closed")
        peer = self._peers.get(address)
        if peer is None:
            if not self._rpc.may_dial(address):
                raise self._outside(address)
            if len(self._peers) >= self._rpc.max_peers:
                self._close_idle()
            peer = self._peers[address] = _Peer(address, self._rpc)
        else:
            self._peers.move_to_end(address)
        return peer

    def _outside(self, address: str) -> Unavailable:
        self._rpc.refused("address")
        why = f"{address}: not dialled, it is outside the networks where peers may be ([stores] rpc_allowed_networks)"
        if address not in self._told and len(self._told) < _TOLD:
            self._told.add(address)
            log.error("an address out of presence is not dialled", address=address, why=why)
        return Unavailable(why)

    def _close_idle(self) -> None:
        address = next((address for address, peer in self._peers.items() if peer.idle), None)
        if address is not None:
            closing = asyncio.get_running_loop().create_task(self._peers.pop(address).close(), name=f"close {address}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _traceparent() -> str:
    """The trace that the running work is bound to, if any."""
    return str(structlog.contextvars.get_contextvars().get(TRACE, ""))
