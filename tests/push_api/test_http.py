"""The HTTP server against slow, careless and hostile clients, over real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from push_api.app import PushApi
from push_api.http_connection import READ_AT_ONCE, BoundedHttp
from push_api.settings import ApiSettings
from push_core.adapters import Ports
from push_core.metrics.catalogue import Metric
from tests.push_api.conftest import client_of
from tests.push_api.refusals import good
from tests.push_api.wire import HEAD, Wire, wire_to


@pytest.fixture
async def wire(api: PushApi) -> AsyncIterator[Wire]:
    opened = await wire_to(api)
    yield opened
    await opened.close()


def body() -> bytes:
    return json.dumps(good()).encode()


async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /nope HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await wire.answer())[0] == 200
    assert (await wire.answer())[0] == 404
    await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await wire.answer())[0] == 200


async def test_a_chunked_body_is_read(wire: Wire) -> None:
    data = body()
    await wire.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for at in range(0, len(data), 7):
        await wire.send(b"%x\r\n%b\r\n" % (len(data[at : at + 7]), data[at : at + 7]))
    await wire.send(b"0\r\n\r\n")
    assert (await wire.answer())[0] == 202


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
async def test_expect_100_continue_is_answered(wire: Wire, connection: bytes) -> None:
    data = body()
    await wire.send(
        HEAD + b"connection: " + connection + b"\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(data)
    )
    assert (await wire.answer())[0] == 100
    await wire.send(data)
    assert (await wire.answer())[0] == 202


async def test_an_offered_upgrade_is_not_taken_and_the_request_is_answered(wire: Wire) -> None:
    data = body()
    await wire.send(
        HEAD + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(data) + data
    )
    status, headers, _ = await wire.answer()
    assert (status, headers["connection"]) == (202, "close")


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",  # a TLS hello
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_the_error_body_and_is_closed(wire: Wire, garbage: bytes) -> None:
    await wire.send(garbage)
    status, headers, answer = await wire.answer()
    assert (status, headers["connection"], headers["content-type"]) == (400, "close", "application/json")
    assert json.loads(answer)["error"]["code"] == "bad_request"
    assert await wire.closed() == b""


async def test_garbage_after_a_request_does_not_take_its_answer(wire: Wire) -> None:
    await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nhello\r\n\r\n")
    status, headers, _ = await wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await wire.closed() == b""


async def test_a_header_that_never_ends_is_refused(wire: Wire) -> None:
    await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"x-flood: y\r\n" * 4_000)
    assert (await wire.answer())[0] == 400


async def test_a_path_that_never_ends_is_refused(wire: Wire) -> None:
    await wire.send(b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await wire.answer())[0] == 400


async def test_a_head_that_comes_after_a_large_body_is_not_blamed_for_it(wire: Wire) -> None:
    data = json.dumps(good(padding="x" * 40_000)).encode()
    await wire.send(HEAD + b"content-length: %d\r\n\r\n" % len(data) + data + b"GET /healthz HTTP/1.1\r\n")
    assert (await wire.answer())[0] == 422
    await wire.send(b"host: x\r\n\r\n")
    assert (await wire.answer())[0] == 200


async def test_one_header_that_never_ends_is_refused(wire: Wire) -> None:
    await wire.send(b"GET /healthz HTTP/1.1\r\nx: ")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            await wire.send(b"x" * 4_096)
    assert (await wire.answer())[0] == 400


async def test_trailers_are_let_by_and_not_without_end(wire: Wire, settings: ApiSettings) -> None:
    chunk = b"%x\r\n%s\r\n0\r\n" % (len(body()), body())
    await wire.send(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk + b"checksum: 1\r\n\r\n")
    assert (await wire.answer())[0] == 202
    await wire.send(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
    assert (await wire.answer())[0] == 401
    await wire.send(b"checksum: 1\r\n" * (settings.max_head_bytes // 10))
    assert await wire.closed() == b""  # the request has its answer


async def test_a_flood_of_requests_takes_turns_and_is_read_no_faster_than_answered(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, slices = BoundedHttp._parse, []

    def noted(connection: BoundedHttp, data: bytes) -> None:
        slices.append((len(data), len(connection.pipeline)))
        parse(connection, data)

    monkeypatch.setattr(BoundedHttp, "_parse", noted)
    wire.writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 2_000)
    assert {(await wire.answer())[0] for _ in range(2_000)} == {200}
    assert max(size for size, _ in slices) <= READ_AT_ONCE
    assert {waiting for _, waiting in slices} == {0}


async def test_a_body_in_tiny_chunks_is_read_in_slices_and_whole(
    wire: Wire, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, sizes = BoundedHttp._parse, []

    def noted(connection: BoundedHttp, data: bytes) -> None:
        sizes.append(len(data))
        parse(connection, data)

    monkeypatch.setattr(BoundedHttp, "_parse", noted)
    spaces = b"1\r\n \r\n" * min(20_000, settings.max_body_bytes - len(body()))
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body()), body())
    wire.writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n" + spaces + chunk)
    assert (await wire.answer())[0] == 202
    assert max(sizes) <= READ_AT_ONCE


async def test_a_body_above_the_limit_gets_413_and_the_connection_lives(wire: Wire, settings: ApiSettings) -> None:
    size = settings.max_body_bytes + 1
    await wire.send(HEAD + b"content-length: %d\r\n\r\n" % size)
    status, _, answer = await wire.answer()  # before a byte of the body
    assert (status, json.loads(answer)["error"]["code"]) == (413, "too_large")
    await wire.send(b"x" * size)
    await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await wire.answer())[0] == 200


async def test_a_chunked_body_above_the_limit_gets_413_while_it_comes(wire: Wire, settings: ApiSettings) -> None:
    await wire.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(settings.max_body_bytes // 0x10000 + 1):
        await wire.send(chunk)
    assert (await wire.answer())[0] == 413


async def test_a_client_that_asks_for_the_end_of_the_connection_sees_the_413_too(
    wire: Wire, settings: ApiSettings
) -> None:
    size = settings.max_body_bytes + 100_000
    await wire.send(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % size)
    status, headers, _ = await wire.answer()
    assert (status, headers["connection"]) == (413, "close")
    for _ in range(10):
        await wire.send(b" " * (size // 10))  # a reset would be an error here, or in what follows
    await wire.send(b" " * (size % 10) + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")  # too late
    assert await wire.closed() == b""


async def test_a_polite_client_sees_the_413(http: httpx.AsyncClient, settings: ApiSettings) -> None:
    answer = await http.post("/v1/messages", content=b"x" * (settings.max_body_bytes + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


class TestSlow:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(port=0, grpc_port=-1, head_timeout_s=0.05, body_timeout_s=0.05, keep_alive_s=0.05)

    async def test_a_connection_that_says_nothing_is_closed(self, wire: Wire) -> None:
        assert await wire.closed() == b""

    async def test_a_head_that_trickles_is_closed(self, wire: Wire) -> None:
        for byte in HEAD:
            try:
                await wire.send(bytes([byte]))
                await asyncio.sleep(0.005)
            except ConnectionError:
                break
        else:
            pytest.fail("the server listened to a head for as long as it liked")

    async def test_a_second_head_that_trickles_is_closed(self, wire: Wire) -> None:
        await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await wire.answer()
        await wire.send(b"GET /heal")
        assert await wire.closed() == b""

    async def test_a_body_that_does_not_come_gets_408(self, wire: Wire) -> None:
        await wire.send(HEAD + b"content-length: 100\r\n\r\n{")
        status, _, answer = await wire.answer()
        assert (status, json.loads(answer)["error"]["code"]) == (408, "request_timeout")
        assert await wire.closed() == b""

    async def test_the_rest_of_a_refused_body_is_not_waited_for_for_ever(self, wire: Wire) -> None:
        await wire.send(b"POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")
        assert (await wire.answer())[0] == 404
        assert await wire.closed() == b""

    async def test_an_idle_connection_is_closed(self, wire: Wire) -> None:
        await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await wire.answer()
        assert await wire.closed() == b""

    async def test_a_connection_whose_refused_body_came_late_is_idle_again(self, wire: Wire) -> None:
        await wire.send(b"POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
        await wire.answer()
        await wire.send(b"abc")
        assert await wire.closed() == b""


class TestBounds:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(port=0, grpc_port=-1, max_connections=2, max_in_flight=1)

    async def test_connections_beyond_the_bound_get_503(self, api: PushApi) -> None:
        kept = [await wire_to(api) for _ in range(2)]
        for one in kept:
            await one.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await one.answer())[0] == 200
        third = await wire_to(api)
        status, headers, answer = await third.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(answer)["error"]["code"] == "overloaded"
        for one in (*kept, third):
            await one.close()

    async def test_requests_beyond_the_bound_get_503_and_health_goes_on(self, api: PushApi, ports: Ports) -> None:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def slow(*_: object, **__: object) -> list[None]:
            asked.set()
            await gate.wait()
            return [None]

        ports.messages.replace(get=slow)  # type: ignore[attr-defined]
        async with client_of(api, "demo.secret") as client:
            waiting = asyncio.create_task(client.get("/v1/messages/1"))
            await asked.wait()
            answer = await client.get("/v1/messages/1")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
            assert answer.headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200
            gate.set()
            assert (await waiting).status_code == 404


class TestDeadline:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(port=0, grpc_port=-1, request_timeout_s=0.1)

    async def test_a_request_that_takes_too_long_gets_503(self, api: PushApi, ports: Ports) -> None:
        async def hang(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        ports.messages.replace(get=hang)  # type: ignore[attr-defined]
        async with client_of(api, "demo.secret") as client:
            answer = await client.get("/v1/messages/1")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


async def test_a_caller_that_hangs_up_is_no_fault_and_its_message_is_committed(api: PushApi, ports: Ports) -> None:
    gate, begun, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    real = ports.messages
    commit = real._inner.commit  # type: ignore[attr-defined]

    async def slow(*args: object, **options: object) -> object:
        begun.set()
        await gate.wait()
        result: object = await commit(*args, **options)
        done.set()
        return result

    real.replace(commit=slow)  # type: ignore[attr-defined]
    gone = await wire_to(api)
    await gone.send(HEAD + b"content-length: %d\r\n\r\n" % len(body()) + body())
    await begun.wait()
    gone.writer.transport.abort()
    gate.set()
    await done.wait()
    while not ports.metrics.counted(Metric.API_ACCEPTED):  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)
    await gone.close()


async def test_a_caller_that_hangs_up_within_its_body_is_counted_and_nothing_else(api: PushApi, ports: Ports) -> None:
    gone = await wire_to(api)
    await gone.send(HEAD + b"content-length: 100\r\n\r\n{")
    await asyncio.sleep(0.01)
    gone.writer.transport.abort()
    while not ports.metrics.counted(Metric.API_REQUESTS, status="gone"):  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)
    await gone.close()
