"""The internal RPC over gRPC: one connection per peer, a cluster key and a deadline on every call.

The hard part is to say truly what a failed call did. `Unavailable` promises "nothing was done" and is said only when the request can't have
reached a handler: no connection came about, or the server refused before it looked at the call. gRPC's own UNAVAILABLE covers both that and a
connection lost half-way (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md), so the connection is made
ready first, and whatever goes wrong after that is `DeadlineExceeded`: unknown.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import grpc
import msgspec
import structlog
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from push_core.errors import ConfigError, DeadlineExceeded, Overloaded, TacoError, Unavailable
from push_core.rpc.in_flight import MAX_IN_FLIGHT, InFlight
from push_core.rpc.port import DEADLINE_S, Deliver, Delivered, Kick, NodeService, Poke, Receipt, ReceiptsService
from push_core.rpc.wire import DELIVER, KICK, NODE, POKE, RECEIPTS, REPORT, Method
from push_core.rpc.zones import ZoneCaller, Zones

log = structlog.get_logger(__name__)
Q = TypeVar("Q")
A = TypeVar("A")

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_PEERS = 1_024
_KEY = "taco-cluster-key"
_TRACE = "traceparent"
_TRACE_LIMIT = 256
_UNDONE = "taco-undone"  # trailing metadata: refused before anything was done
_SERVER_CALLS_PER_PEER = 16  # the server takes that many peers' full measure of calls at a time

# Refusals that come before the handler looks at the call.
_NOT_DONE = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT}
)
_Option = tuple[str, int]


class GrpcRpc:
    """`address` is where listeners bind (`host:0`: a free port each); `advertise` the host that peers are told when that differs.
    Without a `cluster_key` a random one is made: then only listeners of this very object can be called."""

    def __init__(
        self,
        address: str = "127.0.0.1:0",
        *,
        cluster_key: str | None = None,
        receipts: Mapping[str, Sequence[str]] | None = None,
        advertise: str | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_peers: int = MAX_PEERS,
    ) -> None:
        self.bind = address
        self.advertise = advertise
        # Its hash is shown instead of the key itself: metadata takes only some characters, keys may have any.
        self.proof = hashlib.sha256((cluster_key or secrets.token_urlsafe(32)).encode()).hexdigest()
        self.zones = Zones(receipts)
        self.max_in_flight = max_in_flight
        self.max_message_bytes = max_message_bytes
        self.max_peers = max_peers

    def peers(self) -> "GrpcPeers":
        return GrpcPeers(self)

    def listen(
        self, *, node: NodeService | None = None, receipts: ReceiptsService | None = None, zone: str
    ) -> "GrpcListener":
        return GrpcListener(self, node, receipts, zone)

    @property
    def size_options(self) -> list[_Option]:
        return [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
        ]


class GrpcListener:
    def __init__(self, rpc: GrpcRpc, node: NodeService | None, receipts: ReceiptsService | None, zone: str) -> None:
        self._rpc = rpc
        self._node = node
        self._receipts = receipts
        self._zone = zone
        self._address = ""
        self._server: aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        self._proof = rpc.proof.encode()
        self._under_way = 0
        self._limit = rpc.max_in_flight * _SERVER_CALLS_PER_PEER

    @property
    def address(self) -> str:
        return self._address

    async def start(self) -> None:
        """Raises ConfigError when the address can't be had."""
        server = aio.server(
            options=[
                *self._rpc.size_options,
                ("grpc.so_reuseport", 0),  # a second process on the same port is a mistake, not a load balancer
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # peers ping every 10 s while they wait
            ]
        )
        if self._node is not None:
            node = self._node
            self._serve(server, NODE, [(DELIVER, node.deliver), (KICK, node.kick), (POKE, node.poke)])
        if self._receipts is not None:
            self._serve(server, RECEIPTS, [(REPORT, self._receipts.report)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        try:
            port = server.add_insecure_port(self._rpc.bind)
        except RuntimeError:
            port = 0
        if port == 0:
            raise ConfigError(
                f"internal RPC: cannot listen on {self._rpc.bind}; the port is taken or the host is not ours"
            )
        await server.start()
        self._server = server
        host = self._rpc.advertise or self._rpc.bind.rpartition(":")[0]
        self._address = f"{host}:{port}"
        for service in self._services():
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        if self._receipts is not None:
            self._rpc.zones.register(self._zone, self._address)

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, wait for those under way, and cancel what is left then (their callers learn: unknown)."""
        server, self._server = self._server, None
        if server is None:
            return
        self._rpc.zones.unregister(self._zone, self._address)
        await self._health.enter_graceful_shutdown()
        await server.stop(grace_s)

    def _services(self) -> list[str]:
        served = ((NODE, self._node), (RECEIPTS, self._receipts))
        return [name for name, service in served if service is not None]

    def _serve(
        self,
        server: aio.Server,
        service: str,
        methods: "Sequence[tuple[Method[Any, Any], Callable[[Any], Awaitable[Any]]]]",
    ) -> None:
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(self._handler(method, work)) for method, work in methods
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _handler(self, method: Method[Q, A], work: Callable[[Q], Awaitable[A]]) -> Callable[..., Awaitable[bytes]]:
        async def handle(body: bytes, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
            trace = self._checked_trace(context)
            if trace is None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the cluster key does not match")
            left_s = cast("float | None", context.time_remaining())  # the stubs forget that there may be none
            if left_s is None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call needs a deadline")
            try:
                ask = method.decode_ask(body)
            except msgspec.DecodeError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{method.path}: {error}")
            if self._under_way >= self._limit:
                await self._refuse(context, f"{self._under_way} calls are under way already")
            if trace:
                structlog.contextvars.bind_contextvars(traceparent=trace)
            self._under_way += 1
            try:
                async with asyncio.timeout(left_s):
                    answer = await work(ask)
            except TimeoutError:
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "over time")
            except Overloaded as error:
                await self._refuse(context, str(error))
            except TacoError as error:
                await context.abort(grpc.StatusCode.INTERNAL, str(error))
            except Exception as error:  # the edge: the caller hears "unknown", the cause is ours to log
                log.exception("rpc call failed", method=method.path)
                await context.abort(grpc.StatusCode.INTERNAL, type(error).__name__)
            finally:
                self._under_way -= 1
            return method.encode_answer(answer)

        return handle

    def _checked_trace(self, context: "aio.ServicerContext[bytes, bytes]") -> str | None:
        """The caller's trace ("" if it has none), or None for a caller without the cluster key. Apart from the handler, so that no
        traceback through it shows the key among its variables."""
        metadata = _as_dict(context.invocation_metadata())
        if not hmac.compare_digest(metadata.get(_KEY, "").encode(), self._proof):
            return None
        return metadata.get(_TRACE, "")

    async def _refuse(self, context: "aio.ServicerContext[bytes, bytes]", why: str) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, why, trailing_metadata=((_UNDONE, "1"),))


class _Peer:
    """The connection to one address, and the calls under way on it."""

    def __init__(self, address: str, rpc: GrpcRpc) -> None:
        self.address = address
        self._max_bytes = rpc.max_message_bytes
        self._metadata = ((_KEY, rpc.proof),)
        self._in_flight = InFlight(rpc.max_in_flight)
        self._channel = aio.insecure_channel(
            address,
            options=[
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

    @property
    def idle(self) -> bool:
        return self._in_flight.idle

    async def call(self, method: Method[Q, A], ask: Q, timeout_s: float, traceparent: str) -> A:
        body = method.encode_ask(ask)
        if len(body) > self._max_bytes:
            raise Unavailable(f"{self.address}: a call of {len(body)} bytes is too large (limit {self._max_bytes})")
        async with self._in_flight.one(self.address, timeout_s) as left_s:
            began = time.monotonic()
            await self._ready(left_s)
            left_s -= time.monotonic() - began
            answer = await self._send(method.path, body, max(left_s, 0.001), traceparent)
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

    async def _send(self, path: str, body: bytes, timeout_s: float, traceparent: str) -> bytes:
        send = self._methods.get(path)
        if send is None:
            send = self._methods[path] = self._channel.unary_unary(path, None, None)
        # A trace is a caller's word: one that metadata can't carry is left out rather than failing the call.
        traced = (
            traceparent and traceparent.isascii() and traceparent.isprintable() and len(traceparent) <= _TRACE_LIMIT
        )
        metadata = (*self._metadata, (_TRACE, traceparent)) if traced else self._metadata
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
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _UNDONE in _as_dict(error.trailing_metadata()):
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
            raise Unavailable(f"{self.address}: cannot be reached")

    async def _connect(self) -> bool:
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return True
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                return False
            await self._channel.wait_for_state_change(state)


class GrpcPeers:
    """Connections to at most `max_peers` addresses; beyond it those idle for longest are closed, in case nobody says `forget`."""

    def __init__(self, rpc: GrpcRpc) -> None:
        self._rpc = rpc
        self._peers: OrderedDict[str, _Peer] = OrderedDict()  # the one used last at the end
        self._closing: set[asyncio.Task[None]] = set()
        self._zone_caller = ZoneCaller(rpc.zones, time.monotonic)
        self._closed = False

    async def deliver(self, address: str, call: Deliver, *, timeout_s: float = DEADLINE_S) -> Delivered:
        return await self._peer(address).call(DELIVER, call, timeout_s, call.traceparent or _traceparent())

    async def kick(self, address: str, kicks: Sequence[Kick], *, timeout_s: float = DEADLINE_S) -> list[bool]:
        return await self._peer(address).call(KICK, list(kicks), timeout_s, _traceparent())

    async def poke(self, address: str, pokes: Sequence[Poke], *, timeout_s: float = DEADLINE_S) -> None:
        await self._peer(address).call(POKE, list(pokes), timeout_s, _traceparent())

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
            if len(self._peers) >= self._rpc.max_peers:
                self._close_idle()
            peer = self._peers[address] = _Peer(address, self._rpc)
        else:
            self._peers.move_to_end(address)
        return peer

    def _close_idle(self) -> None:
        address = next((address for address, peer in self._peers.items() if peer.idle), None)
        if address is not None:
            closing = asyncio.get_running_loop().create_task(self._peers.pop(address).close(), name=f"close {address}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _as_dict(metadata: Any) -> dict[str, str]:
    """Text entries of gRPC metadata; the stubs know neither that it is iterable nor that it may be None."""
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _traceparent() -> str:
    """The trace that the running work is bound to, if any."""
    return str(structlog.contextvars.get_contextvars().get(_TRACE, ""))
