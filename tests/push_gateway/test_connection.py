"""Connections as strangers make them: halves, silence, garbage, too much, and WebSocket's own frames."""

import asyncio
from contextlib import suppress

import pytest
from websockets.frames import Frame, Opcode

from push_core.rpc.port import ReceiptKind
from push_gateway.connection import Connection
from push_gateway.link import READ_AT_ONCE, Link
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON
from tests.push_gateway.support import APP, Client, Node, Site, offer, token
from tests.push_gateway.test_handshake import request
from tests.support.certificates import Files


@pytest.fixture(params=["plain", "tls"])
async def node(site: Site, request: pytest.FixtureRequest, certificate: Files) -> Node:
    """What goes wrong on a connection goes wrong in the same way with TLS below it."""
    return await site.node(tls=certificate if request.param == "tls" else None)


class Raw:
    """A TCP client without manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, node: Node) -> "Raw":
        host, port = node.url.partition("//")[2].partition("/")[0].split(":")
        return cls(*await asyncio.open_connection(host, int(port), ssl=node.tls))

    async def upgrade(self) -> None:
        self.write(request())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def frame(self, payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> None:
        self.write(Frame(opcode, payload, fin).serialize(mask=True))

    async def until(self, end: bytes) -> bytes:
        return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """Everything until the server hangs up; a linger that is over ends with a reset."""
        data = b""
        with suppress(ConnectionResetError):
            while more := await self._reader.read(65_536):
                data += more
        self.close()
        return data

    def close(self) -> None:
        self._writer.transport.abort()


def close_code(data: bytes) -> int:
    """Of the close frame at the end of what came."""
    place = data.rindex(b"\x88")
    return int.from_bytes(data[place + 2 : place + 4], "big")


async def gone(node: Node) -> None:
    """All connections have ended, and nothing of them is left on the wheel or in the books."""
    context = node.gateway._context
    while context.registry.connections:
        await asyncio.sleep(0)
    assert len(context.wheel) == 0
    assert not context.registry.signed
    assert not context.registry.joining
    assert len(context.drains) == 0


# ── before the upgrade ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_health_and_readiness_share_the_port(node: Node) -> None:
    for path in (b"/healthz", b"/readyz"):
        raw = await Raw.to(node)
        raw.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 200 ")


async def test_an_upgrade_request_may_come_in_pieces(site: Site) -> None:
    node = await site.node(close_linger_s=0.02)
    raw = await Raw.to(node)
    for byte in request():
        raw.write(bytes((byte,)))
        await asyncio.sleep(0)
    raw.frame(b"{")
    assert close_code(await raw.rest()) == 4300


async def test_an_upgrade_request_that_is_too_large_is_refused_as_it_comes(site: Site) -> None:
    node = await site.node(max_head_bytes=1_000)
    raw = await Raw.to(node)
    raw.write(b"GET /v1/connect HTTP/1.1\r\nX: " + b"x" * 1_000)
    assert (await raw.rest()).startswith(b"HTTP/1.1 431 ")


async def test_a_request_that_does_not_come_is_hung_up_on(site: Site) -> None:
    node = await site.node(upgrade_timeout_s=0.02)
    raw = await Raw.to(node)
    raw.write(b"GET /v1/connect HTTP/1.1\r\n")
    assert await raw.rest() == b""
    await gone(node)


async def test_connections_beyond_the_limit_are_closed_at_once(site: Site) -> None:
    node = await site.node(max_connections=1)
    first, second = await Raw.to(node), await Raw.to(node)
    assert await second.rest() == b""
    await first.upgrade()
    first.close()


# ── WebSocket ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\x01x", 1002, id="unmasked"),
        pytest.param(b"\xc1\x80\0\0\0\0", 1002, id="a reserved bit"),
        pytest.param(b"\x81\xff\0\0\0\0\0\x01\0\x01", 1009, id="oversize"),
        pytest.param(Frame(Opcode.TEXT, b"\xff").serialize(mask=True), 1007, id="text that is not UTF-8"),
    ],
)
@pytest.mark.parametrize("signed_in", [False, True])
async def test_violations_of_websocket_get_its_codes(node: Node, data: bytes, code: int, signed_in: bool) -> None:
    client = await node.client()
    if signed_in:
        await client.sign_in()
    client.socket.transport.write(data)
    assert await client.closed() == code
    await gone(node)


async def test_a_websocket_ping_gets_its_pong(node: Node) -> None:
    client = await node.device()
    await (await client.socket.ping(b"are you there"))


async def test_a_close_is_answered_with_its_code(node: Node) -> None:
    client = await node.device()
    await client.socket.close(3_456, "enough")
    assert client.socket.close_code == 3_456
    await gone(node)


async def test_a_message_in_many_fragments_counts_as_one(node: Node) -> None:
    client = await node.client()
    hello = JSON.encode([f.Hello(app="courier", device="d-1", token="x", versions=(1,))]).decode()
    await client.socket.send(list(hello))
    assert await client.closed() == 4201


async def test_half_a_frame_and_then_silence_ends_by_the_hello_deadline(site: Site) -> None:
    node = await site.node(hello_timeout_s=0.05, close_linger_s=0.05)
    raw = await Raw.to(node)
    await raw.upgrade()
    raw.write(Frame(Opcode.TEXT, b'{"hello":{}}').serialize(mask=True)[:9])
    assert close_code(await raw.rest()) == 4005
    await gone(node)


async def test_a_client_that_does_not_answer_a_close_is_cut_off_after_the_linger(site: Site) -> None:
    node = await site.node(close_linger_s=0.02)
    raw = await Raw.to(node)
    await raw.upgrade()
    raw.frame(b"garbage")
    assert close_code(await raw.rest()) == 4300  # until the server hangs up: it does
    await gone(node)


async def test_nothing_is_kept_of_a_client_that_vanished(node: Node) -> None:
    client = await node.device()
    assert await node.located() is not None
    client.socket.transport.abort()
    await gone(node)
    while await node.located() is not None:
        await asyncio.sleep(0)


async def test_a_neighbour_is_not_disturbed_by_a_hostile_one(node: Node, codec: Codec) -> None:
    client = await node.device("good", codec)
    for data in (b"", b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", request() + b"\xff" * 50):
        raw = await Raw.to(node)
        raw.write(data)
        raw.close()
    await node.deliver(offer("good"))
    await client.push()
    await client.pong()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_slow_reader_is_closed_and_its_neighbour_is_not(site: Site, certificate: Files, secure: bool) -> None:
    tls = certificate if secure else None
    node = await site.node(unsent_limit_bytes=4_096, window_max=256, close_linger_s=0.05, tls=tls)
    slow, good = await node.client(), await node.device("good", window=256)
    await slow.sign_in("slow", window=256)
    slow.socket.transport.pause_reading()
    sent = []
    while len(node.gateway._context.registry.signed) == 2:
        sent.append(offer("slow", "good", title="x" * 60_000))
        await node.deliver(sent[-1])
        await good.ack((await good.push()).id)
    assert len(sent) < 250  # it was not the window
    await node.receipts.until(
        lambda receipts: (
            {r.id for r in receipts.taken if r.device == "slow" and r.kind is ReceiptKind.LOST}
            == {each.id for each in sent}
        )
    )
    told = [(receipt.id, receipt.kind) for receipt in node.receipts.taken if receipt.device == "slow"]
    ends = [
        push_id for push_id, kind in told if kind is not ReceiptKind.WRITTEN
    ]  # said of what is un-acked for a second
    assert sorted(ends) == sorted(each.id for each in sent)
    assert {kind for _, kind in told} - {ReceiptKind.WRITTEN} == {ReceiptKind.LOST}
    await good.pong()


async def test_an_idle_connection_keeps_no_bytes(node: Node) -> None:
    client = await node.device()
    await client.pong()
    (connection,) = node.gateway._context.registry.connections
    assert isinstance(connection, Connection)
    assert connection._partial is None
    assert connection._held is None
    assert not hasattr(connection, "__dict__")


async def test_what_comes_while_joining_waits_and_is_heard_in_order(site: Site) -> None:
    node = await site.node()
    release = asyncio.Event()
    sign_in = site.ports.presence.sign_in

    async def slow_sign_in(routes):  # type: ignore[no-untyped-def]
        await release.wait()
        return await sign_in(routes)

    site.ports.presence.sign_in = slow_sign_in  # type: ignore[method-assign]
    client: Client = await node.client()
    await client.hello()
    for _ in range(3):
        await client.send(f.Ping())
        await asyncio.sleep(0.001)  # so that they come in reads of their own
    release.set()
    assert [type(await client.receive()) for _ in range(4)] == [f.Welcome, f.Pong, f.Pong, f.Pong]


async def test_half_a_frame_while_joining_is_heard_when_the_other_half_comes(site: Site) -> None:
    node = await site.node()
    release, asked = asyncio.Event(), asyncio.Event()
    sign_in = site.ports.presence.sign_in

    async def slow_sign_in(routes):  # type: ignore[no-untyped-def]
        asked.set()
        await release.wait()
        return await sign_in(routes)

    site.ports.presence.sign_in = slow_sign_in  # type: ignore[method-assign]
    raw = await Raw.to(node)
    await raw.upgrade()
    raw.frame(JSON.encode([f.Hello(app=APP, device="d-1", token=token("d-1"), versions=(1,))]))
    await asked.wait()
    (connection,) = node.gateway._context.registry.connections
    assert isinstance(connection, Link)
    ping = Frame(Opcode.PING, b"still there?").serialize(mask=True)
    raw.write(ping[:9])
    while not connection._unread:
        await asyncio.sleep(0)
    release.set()
    raw.write(ping[9:])
    assert await raw.until(b"still there?")
    raw.close()


async def test_a_flood_takes_turns_with_everybody_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await site.node(session_frames_per_s=0.0, session_bytes_per_s=0.0)
    read, sizes = Link._read, []

    def noted(link: Link, data: bytes) -> None:
        sizes.append(len(data))
        read(link, data)

    monkeypatch.setattr(Link, "_read", noted)
    raw = await Raw.to(node)
    await raw.upgrade()
    (connection,) = node.gateway._context.registry.connections
    assert isinstance(connection, Link)
    flood = Frame(Opcode.PING, b"").serialize(mask=True) * 10_000
    sizes.clear()
    connection.data_received(flood)  # as one read
    assert sum(sizes) <= READ_AT_ONCE
    raw.frame(b"", Opcode.CLOSE)
    answers = await raw.rest()
    assert sum(sizes) >= len(flood)
    assert max(sizes) <= READ_AT_ONCE
    assert answers.count(b"\x8a\x00") == 10_000
