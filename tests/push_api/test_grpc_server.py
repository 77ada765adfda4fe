"""The gRPC door: the same service, refusals and words as over HTTP."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import grpc
import httpx
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from push_api.app import PushApi
from push_api.errors import GRPC_STATUS
from push_api.settings import ApiSettings
from push_core.adapters import Ports
from push_core.envelope import decode_batch
from push_core.errors import CODES, ConfigError
from push_core.queues.port import Source
from sdk_proto.rpc import push_pb2 as pb
from sdk_proto.rpc import push_pb2_grpc
from tests.push_api.fakes import away
from tests.push_api.refusals import REFUSED, good

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def trailing_of(error: aio.AioRpcError) -> dict[str, str]:
    metadata: Any = error.trailing_metadata() or ()
    return dict(metadata)


class Caller:
    """Calls methods by name: the reply and its trailing metadata, or the refusal as (status, code, field, retry)."""

    def __init__(self, channel: aio.Channel, key: str | None) -> None:
        self._stub = push_pb2_grpc.PushStub(channel)  # type: ignore[no-untyped-call]
        self._key = key

    async def call(self, method: str, request: Any, **options: Any) -> Any:
        metadata = [*options.pop("metadata", ())]
        if self._key is not None:
            metadata.append(("authorization", f"Bearer {self._key}"))
        options.setdefault("timeout", 10.0)
        return await getattr(self._stub, method)(request, metadata=metadata, **options)

    async def refusal(self, method: str, request: Any, **options: Any) -> tuple[str, str, str | None, bool]:
        with pytest.raises(aio.AioRpcError) as refused:
            await self.call(method, request, **options)
        trailing = trailing_of(refused.value)
        assert refused.value.details()
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", str(trailing["traceparent"]))
        field = trailing.get("taco-error-field")
        return (
            refused.value.code().name,
            str(trailing["taco-error-code"]),
            None if field is None else unquote(str(field)),
            trailing["taco-error-retry"] == "true",
        )


@pytest.fixture
async def channel(api: PushApi) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(api.grpc_address or "") as opened:
        yield opened


@pytest.fixture
def rpc(channel: aio.Channel) -> Caller:
    return Caller(channel, "demo.secret")


def message(plain: dict[str, Any]) -> pb.Message:
    """The JSON message in protobuf's words."""
    given = dict(plain)
    made = pb.Message()
    if "target" in given:
        target = dict(given.pop("target"))
        if "devices" in target:
            target["devices"] = pb.DeviceList(names=target["devices"])
        made.target.CopyFrom(pb.Target(**target))
    if "data" in given:
        made.data = json.dumps(given.pop("data")).encode()
    for channel, override in given.pop("vendor", {}).items():
        made.vendor[channel] = json.dumps(override).encode()
    for name, value in given.items():
        setattr(made, name, value)
    return made


def send(**changes: Any) -> pb.SendRequest:
    return pb.SendRequest(message=message(good(**changes)))


def refused(code: str, field: str | None = None) -> tuple[str, str, str | None, bool]:
    return GRPC_STATUS[code], code, field, CODES[code].retry


async def test_a_message_is_accepted_and_can_be_looked_up(rpc: Caller, http: httpx.AsyncClient) -> None:
    reply = await rpc.call("Send", send())
    assert reply.state == "accepted"
    found = await rpc.call("GetMessage", pb.GetMessageRequest(id=reply.id))
    assert (found.id, found.state, dict(found.counts)) == (reply.id, "accepted", {"accepted": 1})
    assert found.deliveries[0].device == "phone-1"
    assert set(found.deliveries[0].at) == {"accepted"}
    assert not found.HasField("recalled_at")
    assert (await http.get(f"/v1/messages/{reply.id}")).json()["id"] == reply.id


async def test_both_doors_make_the_same_envelope(rpc: Caller, http: httpx.AsyncClient, ports: Ports) -> None:
    plain = good(
        kind="passthrough",
        body="é",
        data={"n": 2**53 + 1, "x": [1.5, None, {"a": True}]},
        priority="low",
        ttl=0,
        collapse="c",
        channels="long",
        ack_timeout=3,
        vendor={"apns": {"badge": 1}},
        target={"devices": ["a", "b"]},
    )
    consumer = await ports.queues.consume([Source("push.shared.low")])
    await http.post("/v1/messages", json=plain)
    [over_http] = decode_batch((await consumer.take()).body)
    await rpc.call("Send", pb.SendRequest(message=message(plain)))
    [over_grpc] = decode_batch((await consumer.take()).body)
    await consumer.close()

    def timeless(envelope: Any) -> Any:
        push = {**json.loads(envelope.push), "id": "", "sent": 0, "expires": 0}
        fields = ("app", "devices", "alias", "kind", "priority", "channels", "collapse", "ack_timeout_ms", "live_only")
        return push, [getattr(envelope, field) for field in fields], envelope.vendor

    assert timeless(over_grpc) == timeless(over_http)


async def test_a_bad_message_is_refused_as_over_http(rpc: Caller) -> None:
    for wrong, plain, code, field in REFUSED:
        got = await rpc.refusal("Send", pb.SendRequest(message=message(plain)))
        assert (wrong, got) == (wrong, refused(code, field))


async def test_a_bad_message_of_a_batch_fails_only_itself(rpc: Caller) -> None:
    messages = [message(good()), *(message(plain) for _, plain, _, _ in REFUSED), message(good())]
    reply = await rpc.call("SendBatch", pb.SendBatchRequest(messages=messages))
    first, *bad, last = reply.results
    assert first.id
    assert last.id
    for index, ((wrong, _, code, field), result) in enumerate(zip(REFUSED, bad, strict=True), 1):
        assert (wrong, result.error.code, result.error.field) == (wrong, code, f"messages[{index}].{field}")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", "bad_json"),
        (b"\xff", "bad_json"),
        (b'{"a":NaN}', "bad_json"),
        (b'{"a":"\\ud800"}', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"a":1e999}', "invalid"),
        (b'{"a":' + b"9" * 5_000 + b"}", "invalid"),
        (b"null", None),
        (b"[]", "invalid"),
        (b"7", "invalid"),
    ],
)
async def test_data_that_is_no_object_is_refused(rpc: Caller, data: bytes, code: str | None) -> None:
    request = send()
    request.message.data = data
    if code is None:  # as null is over HTTP: not there
        assert (await rpc.call("Send", request)).id
        return
    assert await rpc.refusal("Send", request) == refused(code, "data")
    request = send()
    request.message.vendor["apns"] = data
    assert await rpc.refusal("Send", request) == refused(code, "vendor")


async def test_what_is_not_there_is_named(rpc: Caller) -> None:
    assert await rpc.refusal("Send", pb.SendRequest()) == refused("missing_field", "message")
    assert await rpc.refusal("SendBatch", pb.SendBatchRequest()) == refused("missing_field", "messages")
    too_many = pb.SendBatchRequest(messages=[message(good())] * 501)
    assert await rpc.refusal("SendBatch", too_many) == refused("too_many", "messages")


async def test_a_repeat_gets_the_first_answer_through_either_door(rpc: Caller, http: httpx.AsyncClient) -> None:
    first = (await rpc.call("Send", send(idempotency_key="k"))).id
    assert (await rpc.call("Send", send(idempotency_key="k"))).id == first
    assert (await http.post("/v1/messages", json=good(idempotency_key="k"))).json()["id"] == first
    conflict = await rpc.refusal("Send", send(title="another", idempotency_key="k"))
    assert conflict == refused("idempotency_conflict", "idempotency_key")


async def test_a_message_is_recalled(rpc: Caller) -> None:
    sent = (await rpc.call("Send", send())).id
    found = await rpc.call("Recall", pb.RecallRequest(id=sent))
    assert found.state == "recalled"
    assert found.recalled_at > 0


async def test_deliveries_come_in_pages(rpc: Caller) -> None:
    sent = (await rpc.call("Send", send(target={"devices": ["a", "b", "c"]}))).id
    page = await rpc.call("GetMessage", pb.GetMessageRequest(id=sent, limit=2))
    assert ([row.device for row in page.deliveries], page.next) == (["a", "b"], "b")
    page = await rpc.call("GetMessage", pb.GetMessageRequest(id=sent, limit=2, after="b"))
    assert ([row.device for row in page.deliveries], page.next) == (["c"], "")
    for limit in (-1, 101):
        got = await rpc.refusal("GetMessage", pb.GetMessageRequest(id=sent, limit=limit))
        assert got == refused("invalid", "limit")


async def test_a_device_is_registered_blocked_and_forgotten(rpc: Caller) -> None:
    given = pb.Registration(
        alias="user-7",
        tags=["a", "b"],
        platform="ios",
        vendor_tokens={"apns": "t"},
        locale="de",
        time_zone="UTC",
        app_version="1",
    )
    stored = await rpc.call("PutDevice", pb.PutDeviceRequest(device="phone/1", registration=given))
    assert (stored.device, stored.registration, stored.blocked) == ("phone/1", given, False)
    device = pb.DeviceRequest(device="phone/1")
    assert (await rpc.call("Block", device)).blocked
    assert not (await rpc.call("Unblock", device)).blocked
    assert (await rpc.call("GetDevice", device)).updated > 0
    assert not (await rpc.call("Disconnect", device)).disconnected
    assert not (await rpc.call("GetPresence", device)).online
    await rpc.call("ForgetDevice", device)
    for method in ("GetDevice", "ForgetDevice", "Unblock"):
        assert await rpc.refusal(method, device) == refused("not_found")


async def test_a_bad_device_is_refused(rpc: Caller) -> None:
    for method in ("GetDevice", "ForgetDevice", "GetPresence", "Disconnect", "Block", "Unblock"):
        for name in ("", "a\n", "x" * 129):
            assert await rpc.refusal(method, pb.DeviceRequest(device=name)) == refused("invalid", "device")
    for given, code, field in [
        (pb.Registration(tags=["b c"]), "invalid", "tags[0]"),
        (pb.Registration(alias="a\x00"), "invalid", "alias"),
        (pb.Registration(vendor_tokens={"AP": "x"}), "invalid", "vendor_tokens"),
    ]:
        request = pb.PutDeviceRequest(device="d", registration=given)
        assert await rpc.refusal("PutDevice", request) == refused(code, field)


async def test_another_apps_message_is_not_found(rpc: Caller, channel: aio.Channel) -> None:
    sent = (await rpc.call("Send", send())).id
    other = Caller(channel, "other.secret-2")
    for wanted in (sent, "1", "x", "", "-1"):
        assert await other.refusal("GetMessage", pb.GetMessageRequest(id=wanted)) == refused("not_found")
        assert await other.refusal("Recall", pb.RecallRequest(id=wanted)) == refused("not_found")


@pytest.mark.parametrize("key", [None, "", "demo", "demo.wrong", "nobody.secret"])
async def test_without_a_known_key_nothing_is_done(channel: aio.Channel, key: str | None) -> None:
    assert await Caller(channel, key).refusal("Send", send()) == refused("unauthorized")


async def test_a_disabled_app_is_told_so(channel: aio.Channel) -> None:
    assert await Caller(channel, "closed.secret").refusal("Send", send()) == refused("app_disabled")


async def test_bytes_that_are_no_message_are_the_callers_fault(channel: aio.Channel) -> None:
    call: Any = channel.unary_unary("/taco.push.v1.Push/Send")  # type: ignore[call-arg]  # without any, bytes go as they are
    with pytest.raises(aio.AioRpcError) as error:
        await call(b"\xff\xff\xff", metadata=[("authorization", "Bearer demo.secret")])
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing_of(error.value)["taco-error-code"] == "bad_request"


async def test_a_traceparent_is_taken_over_and_answered(rpc: Caller, ports: Ports) -> None:
    consumer = await ports.queues.consume([Source("push.shared.normal")])
    call = rpc._stub.Send(send(), metadata=[("authorization", "Bearer demo.secret"), ("traceparent", TRACE)])
    await call
    assert dict(await call.trailing_metadata())["traceparent"] == TRACE
    [envelope] = decode_batch((await consumer.take()).body)
    await consumer.close()
    assert envelope.traceparent == TRACE


async def test_when_the_commit_fails_the_caller_is_told_to_repeat(rpc: Caller, ports: Ports) -> None:
    ports.messages.replace(commit=away("the message store"))  # type: ignore[attr-defined]
    assert await rpc.refusal("Send", send()) == refused("unavailable")
    with pytest.raises(aio.AioRpcError) as error:
        await rpc.call("SendBatch", pb.SendBatchRequest(messages=[message(good())]))
    assert trailing_of(error.value)["taco-retry-after"] == "1"


async def test_a_fault_of_ours_says_nothing_of_its_inside(rpc: Caller, ports: Ports) -> None:
    ports.messages.replace(get=KeyError("a secret thing"))  # type: ignore[attr-defined]
    with pytest.raises(aio.AioRpcError) as error:
        await rpc.call("GetMessage", pb.GetMessageRequest(id="1"))
    assert error.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error.value.details())


class TestDeadlines:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(port=0, grpc_port=0, request_timeout_s=0.1)

    @pytest.fixture(autouse=True)
    def _hang(self, ports: Ports) -> None:
        async def hang(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        ports.messages.replace(get=hang)  # type: ignore[attr-defined]

    async def test_a_call_without_a_deadline_gets_the_servers(self, rpc: Caller) -> None:
        got = await rpc.refusal("GetMessage", pb.GetMessageRequest(id="1"), timeout=None)
        assert got == refused("unavailable")

    async def test_a_call_with_less_time_gets_no_more(self, rpc: Caller) -> None:
        with pytest.raises(aio.AioRpcError) as error:
            await rpc.call("GetMessage", pb.GetMessageRequest(id="1"), timeout=0.02)
        assert error.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


class TestBounds:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(port=0, grpc_port=0, max_in_flight=1)

    async def test_calls_beyond_the_bound_are_refused(self, rpc: Caller, ports: Ports) -> None:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def slow(*_: object, **__: object) -> list[None]:
            asked.set()
            await gate.wait()
            return [None]

        ports.messages.replace(get=slow)  # type: ignore[attr-defined]
        waiting = asyncio.create_task(rpc.refusal("GetMessage", pb.GetMessageRequest(id="1")))
        await asked.wait()
        assert await rpc.refusal("GetMessage", pb.GetMessageRequest(id="1")) == refused("overloaded")
        gate.set()
        assert await waiting == refused("not_found")


async def test_the_health_service_follows_readiness(api: PushApi, channel: aio.Channel, ports: Ports) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    watching = health.Watch(health_pb2.HealthCheckRequest(service="taco.push.v1.Push"))

    async def until(wanted: Any) -> None:
        while (await watching.read()).status != wanted:
            pass

    await until(health_pb2.HealthCheckResponse.SERVING)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    ports.messages.replace(ping=away())  # type: ignore[attr-defined]
    await until(health_pb2.HealthCheckResponse.NOT_SERVING)
    ports.messages.give_back()  # type: ignore[attr-defined]
    await until(health_pb2.HealthCheckResponse.SERVING)
    watching.cancel()


async def test_a_taken_port_is_a_sentence_and_leaves_nothing_open(
    api: PushApi, ports: Ports, settings: ApiSettings
) -> None:
    port = int((api.grpc_address or "").rpartition(":")[2])
    second = PushApi(replace(settings, grpc_port=port), ports)
    with pytest.raises(ConfigError, match=r"\[api\] grpc_port: can't listen on"):
        await second.start()
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{second.url}/healthz")


async def test_grpc_can_be_left_off(ports: Ports, settings: ApiSettings) -> None:
    api = PushApi(replace(settings, grpc_port=-1), ports)
    await api.start()
    assert api.grpc_address is None
    await api.stop(1.0)
