"""The serving side of the internal RPC over gRPC: who may call, with what, and how many calls at a time."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import msgspec
import structlog
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from push_core.errors import ConfigError, Overloaded, TacoError
from push_core.rpc.grpc_metadata import KEY, TRACE, UNDONE, VERSION, as_dict
from push_core.rpc.port import NodeService, ReceiptsService
from push_core.rpc.versions import Spoken
from push_core.rpc.wire import BROADCAST, DELIVER, KICK, NODE, POKE, RECEIPTS, REPORT, SUBSCRIBE, Method

if TYPE_CHECKING:
    from push_core.rpc.grpc import GrpcRpc

log = structlog.get_logger(__name__)
Q = TypeVar("Q")
A = TypeVar("A")

_CALLS_PER_PEER = 16  # the server takes that many peers' full measure of calls at a time
_TOLD = 16  # other versions that are told of in the log


class GrpcListener:
    def __init__(self, rpc: "GrpcRpc", node: NodeService | None, receipts: ReceiptsService | None, zone: str) -> None:
        self._rpc = rpc
        self._node = node
        self._receipts = receipts
        self._zone = zone
        self._address = ""
        self._server: aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        self._proof = rpc.proof.encode()
        self._under_way = 0
        self._limit = rpc.max_in_flight * _CALLS_PER_PEER
        self._told: set[str] = set()  # versions that were refused and told of

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
            self._serve(
                server,
                NODE,
                [
                    (DELIVER, node.deliver),
                    (KICK, node.kick),
                    (POKE, node.poke),
                    (BROADCAST, node.broadcast),
                    (SUBSCRIBE, node.subscribe),
                ],
            )
        if self._receipts is not None:
            self._serve(server, RECEIPTS, [(REPORT, self._receipts.report)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        try:
            credentials, bind = self._rpc.server_credentials(), self._rpc.bind
            port = server.add_secure_port(bind, credentials) if credentials else server.add_insecure_port(bind)
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
            trace, spoken = self._checked(context)
            if trace is None:
                self._rpc.refused("key")
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the cluster key does not match")
            if spoken is None or not self._rpc.spoken.understands(spoken):
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self._other_version(spoken))
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

    def _checked(self, context: "aio.ServicerContext[bytes, bytes]") -> tuple[str | None, Spoken | None]:
        """The caller's trace ("" if it has none), or None for a caller without the cluster key, and the versions that it speaks. Apart from
        the handler, so that no traceback through it shows the key among its variables."""
        metadata = as_dict(context.invocation_metadata())
        if not hmac.compare_digest(metadata.get(KEY, "").encode(), self._proof):
            return None, None
        return metadata.get(TRACE, ""), Spoken.parse(metadata.get(VERSION, ""))

    def _other_version(self, theirs: Spoken | None) -> str:
        """Refused before anything was done; the caller keeps what it has until a program answers that understands it."""
        self._rpc.refused("version")
        ours = self._rpc.spoken
        says = f"version {theirs.version} (oldest {theirs.oldest})" if theirs is not None else "no version"
        why = f"the caller speaks {says} of the internal RPC, this program {ours.version} (oldest {ours.oldest})"
        if why not in self._told and len(self._told) < _TOLD:
            self._told.add(why)
            log.error(
                "calls refused: their release and this one don't work together; `taco doctor` says which do", why=why
            )
        return why

    async def _refuse(self, context: "aio.ServicerContext[bytes, bytes]", why: str) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, why, trailing_metadata=((UNDONE, "1"),))
