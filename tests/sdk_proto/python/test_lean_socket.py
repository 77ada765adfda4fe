"""The small socket, byte by byte (RFC 6455)."""

import asyncio
import base64
import hashlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from sdk_proto.python.lean_socket import LeanSocket, masked


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close


class Wire:
    """A socket, what it told its owner, and the frames it wrote."""

    def __init__(self, *, answered: bool = True) -> None:
        self.events: list[Any] = []
        self.transport = FakeTransport()
        self.socket = LeanSocket(
            "gw:80",
            "/v1/connect",
            "taco.v1+json",
            binary=False,
            on_open=lambda: self.events.append("open"),
            on_messages=lambda messages: self.events.extend(messages),
            on_close=lambda code, reason: self.events.append((code, reason)),
            on_lost=lambda socket: self.events.append("lost"),
        )
        self.socket.connection_made(self.transport)
        self.request, self.transport.written = self.transport.written, b""
        if answered:
            self.socket.data_received(self.answer())
            self.events.clear()

    def answer(self, status: bytes = b"101 Switching Protocols", subprotocol: bytes = b"taco.v1+json") -> bytes:
        key = self.request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        return (
            b"HTTP/1.1 " + status + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nsec-websocket-accept: "
            + base64.b64encode(digest) + b"\r\nSec-WebSocket-Protocol: " + subprotocol + b"\r\n\r\n"
        )  # fmt: skip

    def wrote(self) -> list[Frame]:
        """Parsed by the library, which also checks that each frame is masked."""
        reader = StreamReader()
        reader.feed_data(self.transport.written)
        reader.feed_eof()
        self.transport.written = b""
        frames = []
        while reader.buffer:
            parser = Frame.parse(reader.read_exact, mask=True)
            try:
                next(parser)
            except StopIteration as done:
                frames.append(cast("Frame", done.value))
        return frames


def text(payload: bytes) -> bytes:
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.lists(st.integers(1, 400), max_size=8), st.booleans()
)
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    messages: list[bytes], cuts: list[int], with_answer: bool
) -> None:
    wire = Wire(answered=not with_answer)
    stream = (wire.answer() if with_answer else b"") + b"".join(text(message) for message in messages)
    for cut in cuts:
        wire.socket.data_received(stream[:cut])
        stream = stream[cut:]
    wire.socket.data_received(stream)
    assert wire.events == (["open"] if with_answer else []) + messages


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 1 << 20])
def test_every_form_of_the_length_is_read_and_written(size: int) -> None:
    wire = Wire()
    wire.socket.data_received(text(b"x" * size))
    assert wire.events == [b"x" * size]
    wire.socket.send(b"y" * size)
    (frame,) = wire.wrote()
    assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, b"y" * size)


def test_a_ping_is_answered() -> None:
    wire = Wire()
    wire.socket.data_received(Frame(Opcode.PING, b"abc").serialize(mask=False) + text(b"m"))
    assert wire.events == [b"m"]
    assert [(frame.opcode, bytes(frame.data)) for frame in wire.wrote()] == [(Opcode.PONG, b"abc")]


def test_what_came_before_a_close_is_handed_over_first() -> None:
    wire = Wire()
    close = Frame(Opcode.CLOSE, (4100).to_bytes(2, "big") + b"draining").serialize(mask=False)
    wire.socket.data_received(text(b"bye") + close + text(b"after"))
    wire.socket.connection_lost(None)
    assert wire.events == [b"bye", (4100, "draining"), "lost"]
    assert wire.wrote()[0].opcode is Opcode.CLOSE
    assert wire.transport.closing


def test_a_close_without_a_code_and_a_lost_network_have_none() -> None:
    wire = Wire()
    wire.socket.data_received(Frame(Opcode.CLOSE, b"").serialize(mask=False))
    assert wire.events == [(None, "")]
    lost = Wire()
    lost.socket.connection_lost(ConnectionResetError("reset"))
    assert lost.events == [(None, "reset"), "lost"]


def test_nothing_is_told_after_letting_go() -> None:
    for let_go in (LeanSocket.close, LeanSocket.abort):
        wire = Wire()
        let_go(wire.socket)
        wire.socket.data_received(text(b"late"))
        wire.socket.connection_lost(None)
        assert wire.events == ["lost"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x01a",  # a fragment
        b"\xc1\x01a",  # an extension's bit
        b"\x82\x01a",  # binary where text was agreed
        b"\x83\x00",  # an opcode that doesn't exist
        b"\x81\x81abcda",  # masked by a server
        b"\x81\x7f\x00\x00\x00\x00\x7f\x00\x00\x00",  # 2 GiB
    ],
)
def test_what_a_gateway_never_sends_ends_it(data: bytes) -> None:
    wire = Wire()
    wire.socket.data_received(data)
    ((code, reason),) = wire.events
    assert code is None
    assert reason
    assert wire.transport.closing


def test_an_answer_that_is_no_upgrade_ends_it() -> None:
    for status, subprotocol, reason in (
        (b"400 Bad Request", b"taco.v1+json", "refused: HTTP/1.1 400 Bad Request"),
        (b"101 Switching Protocols", b"chat", "the server does not speak the subprotocol"),
    ):
        wire = Wire(answered=False)
        wire.socket.data_received(wire.answer(status, subprotocol))
        assert wire.events == [(None, reason)]
    wire = Wire(answered=False)
    wire.socket.data_received(Wire(answered=False).answer())  # the answer to another's key
    assert wire.events == [(None, "not a WebSocket server")]
    wire = Wire(answered=False)
    wire.socket.data_received(b"x" * 20_000)
    assert wire.events == [(None, "the answer to the upgrade is too long")]


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_the_exclusive_or_of_the_rfc(payload: bytes, mask: bytes) -> None:
    assert masked(payload, mask) == bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
