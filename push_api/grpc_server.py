"""The gRPC door: calls of `taco.push.v1.Push` to methods of the one service object, with the standard health service.

Every call has a deadline: the caller's, and at most the server's own. Errors have a gRPC status and, in the trailing metadata, the code,
field and retry that HTTP has in its error body.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Never
from urllib.parse import quote, unquote

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from push_api import proto
from push_api.complaints import Complaints
from push_api.errors import grpc_status, problem_of, retry_after_s
from push_api.models import MAX_PAGE
from push_api.service import PushService
from push_api.settings import ApiSettings
from push_api.traceparent import accept_or_make
from push_api.validation import check_name, check_registration, check_topics
from push_core.errors import ConfigError, DeadlineExceeded, Overloaded, TacoError, Unavailable, UserError
from push_core.lifecycle import State
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import App
from sdk_proto.rpc import push_pb2 as pb

log = structlog.get_logger(__name__)

SERVICE = "taco.push.v1.Push"
_METHODS = pb.DESCRIPTOR.services_by_name["Push"].methods_by_name
_SENDING = ("Send", "SendBatch")  # their messages are counted, not the request
_Context = Any  # grpc.aio's stubs know neither its trailing metadata nor its abort


class GrpcDoor:
    """`start` raises ConfigError when the address can't be used."""

    def __init__(self, service: PushService, metrics: Metrics, complaints: Complaints, settings: ApiSettings) -> None:
        self._service = service
        self._complaints = complaints
        self._metrics = metrics
        self._settings = settings
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        self._in_flight = 0
        self._server: Any = None
        self._following: asyncio.Task[None] | None = None
        self._port = 0
        self._handlers: dict[str, Callable[[App, Any, str], Awaitable[Message]]] = {
            "Send": self._send,
            "SendBatch": self._send_batch,
            "GetMessage": self._get_message,
            "Recall": self._recall,
            "PutDevice": self._put_device,
            "GetDevice": self._get_device,
            "ForgetDevice": self._forget_device,
            "GetPresence": self._get_presence,
            "Disconnect": self._disconnect,
            "Block": self._block,
            "Unblock": self._unblock,
            "Subscribe": self._subscribe,
            "Unsubscribe": self._unsubscribe,
        }

    @property
    def address(self) -> str:
        """`host:port`, known after `start`."""
        host = self._settings.host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    async def start(self) -> None:
        settings = self._settings
        self._server = aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # a second process on the same port is a mistake, not a load balancer
                ("grpc.max_receive_message_length", settings.max_body_bytes),
            ],
            # Above our own bound, whose refusal says when to come back; this one keeps a flood from costing memory.
            maximum_concurrent_rpcs=2 * settings.max_in_flight,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {name: self._handler(name) for name in self._handlers}),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._port = settings.grpc_port
        try:
            self._port = self._server.add_insecure_port(self.address)
        except RuntimeError:
            raise ConfigError(
                f"[api] grpc_port: can't listen on {self.address}, it is taken by another program or not an address of this machine; "
                "choose another (0 picks a free one, -1 leaves gRPC off)"
            ) from None
        await self._server.start()
        self._following = asyncio.get_running_loop().create_task(self._follow_readiness(), name="api.grpc.health")

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, finish those under way within `grace_s` seconds."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
            await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _follow_readiness(self) -> None:
        """Keep the health service true; watchers of it are told of changes."""
        while True:
            try:
                await self._service.readiness.check()
                status = health_pb2.HealthCheckResponse.SERVING
            except TacoError:
                status = health_pb2.HealthCheckResponse.NOT_SERVING
            for name in ("", SERVICE):
                await self._health.set(name, status)
            await asyncio.sleep(max(0.1, self._settings.ready_cache_s))

    def _handler(self, name: str) -> Any:
        request = getattr(pb, _METHODS[name].input_type.name)

        async def answer(given: Message | DecodeError, context: _Context) -> Message:
            return await self._answer(name, given, context)

        def read(body: bytes) -> Message | DecodeError:
            try:
                return request.FromString(body)  # type: ignore[no-any-return]
            except DecodeError as error:
                return error  # raised here it would be told as a fault of the server's

        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=read, response_serializer=_written)

    async def _answer(self, name: str, given: Message | DecodeError, context: _Context) -> Message:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        trace = accept_or_make(metadata.get("traceparent"))
        own, left = self._settings.request_timeout_s, context.time_remaining()
        self._in_flight += 1
        status = "error"
        try:
            if self._in_flight > self._settings.max_in_flight:
                raise Overloaded("too many requests are under way")
            self._service.admission.knock(_address(context.peer()))
            if isinstance(given, DecodeError):
                raise UserError("the request is not the message that this method takes", code="bad_request")
            try:
                async with asyncio.timeout(own if left is None else min(own, left)):
                    app = await self._service.auth.app_of(metadata.get("authorization"))
                    with self._service.admission.visit():
                        if name not in _SENDING:
                            await self._service.admission.request(app)
                        reply = await self._handlers[name](app, given, trace)
            except TimeoutError:
                raise DeadlineExceeded("not done within the call's deadline") from None
            context.set_trailing_metadata((("traceparent", trace),))
            status = "ok"
            return reply
        except TacoError as error:
            status = str(error.status)
            self._complaints.say(error, name, trace)
            return await _abort(context, error, trace)
        except Exception as error:
            status = "500"
            if isinstance(error, aio.AbortError):
                raise
            log.exception("request failed", method=name, traceparent=trace)
            return await _abort(context, error, trace)
        finally:
            self._in_flight -= 1
            self._metrics.count(Metric.API_REQUESTS, method=name, status=status)

    async def _send(self, app: App, given: pb.SendRequest, trace: str) -> pb.SendReply:
        accepted = await self._service.send(app, partial(proto.message_in, given), key=None, traceparent=trace)
        return pb.SendReply(id=str(accepted), state=State.ACCEPTED)

    async def _send_batch(self, app: App, given: pb.SendBatchRequest, trace: str) -> pb.SendBatchReply:
        outcomes = await self._service.send_batch(app, partial(proto.messages_in, given), traceparent=trace)
        return pb.SendBatchReply(
            results=[
                pb.SendBatchReply.Result(id=str(one))
                if isinstance(one, int)
                else pb.SendBatchReply.Result(error=proto.error_reply(problem_of(one)))
                for one in outcomes
            ]
        )

    async def _get_message(self, app: App, given: pb.GetMessageRequest, _: str) -> pb.MessageStatus:
        after = check_name(given.after, "after") if given.after else None
        limit = given.limit or MAX_PAGE
        if not 1 <= limit <= MAX_PAGE:
            raise UserError(f"limit must be a whole number from 1 to {MAX_PAGE}", code="invalid", field="limit")
        return proto.status_reply(await self._service.get_message(app, given.id, after=after, limit=limit))

    async def _recall(self, app: App, given: pb.RecallRequest, trace: str) -> pb.MessageStatus:
        return proto.status_reply(await self._service.recall(app, given.id, traceparent=trace))

    async def _put_device(self, app: App, given: pb.PutDeviceRequest, _: str) -> pb.Device:
        record = check_registration(proto.registration_of(given.registration))
        return proto.device_reply(await self._service.devices.put(app.name, _device(given), record))

    async def _get_device(self, app: App, given: pb.DeviceRequest, _: str) -> pb.Device:
        return proto.device_reply(await self._service.devices.get(app.name, _device(given)))

    async def _forget_device(self, app: App, given: pb.DeviceRequest, _: str) -> pb.ForgetDeviceReply:
        await self._service.devices.forget(app.name, _device(given))
        return pb.ForgetDeviceReply()

    async def _get_presence(self, app: App, given: pb.DeviceRequest, _: str) -> pb.Presence:
        found = await self._service.devices.presence(app.name, _device(given))
        return pb.Presence(online=found.online, node=found.node or "", since=found.since or 0)

    async def _disconnect(self, app: App, given: pb.DeviceRequest, _: str) -> pb.DisconnectReply:
        ended = await self._service.devices.disconnect(app.name, _device(given))
        return pb.DisconnectReply(disconnected=ended.disconnected)

    async def _block(self, app: App, given: pb.DeviceRequest, _: str) -> pb.Device:
        return proto.device_reply(await self._service.devices.block(app.name, _device(given)))

    async def _unblock(self, app: App, given: pb.DeviceRequest, _: str) -> pb.Device:
        return proto.device_reply(await self._service.devices.unblock(app.name, _device(given)))

    async def _subscribe(self, app: App, given: pb.TopicsRequest, _: str) -> pb.Device:
        topics = check_topics(proto.topics_of(given))
        return proto.device_reply(await self._service.devices.subscribe(app.name, _device(given), topics))

    async def _unsubscribe(self, app: App, given: pb.TopicsRequest, _: str) -> pb.Device:
        topics = check_topics(proto.topics_of(given))
        return proto.device_reply(await self._service.devices.unsubscribe(app.name, _device(given), topics))


def _device(given: pb.DeviceRequest | pb.PutDeviceRequest | pb.TopicsRequest) -> str:
    return check_name(given.device, "device")


def _address(peer: str) -> str:
    """Of gRPC's `ipv4:127.0.0.1:1234` or `ipv6:%5B::1%5D:1234`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")


def _written(reply: Message) -> bytes:
    return reply.SerializeToString()


async def _abort(context: _Context, error: Exception, trace: str) -> Never:
    problem = problem_of(error)
    metadata = [
        ("traceparent", trace),
        ("taco-error-code", problem.code),
        ("taco-error-retry", "true" if problem.retry else "false"),
    ]
    if problem.field:
        metadata.append(("taco-error-field", quote(problem.field, safe="[]._- ")))
    if (wait := retry_after_s(error)) is not None:
        metadata.append(("taco-retry-after", str(wait)))
    await context.abort(grpc.StatusCode[grpc_status(error)], problem.message, tuple(metadata))
    raise Unavailable("not reached: abort raises")
