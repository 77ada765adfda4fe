"""The frame reader, held against `websockets`' own Sans-I/O protocol."""

import os
import struct
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.uri import parse_uri

from push_gateway import websocket_frames as ws

MAX = 65_536


def read_all(chunks: Iterable[bytes], max_size: int = MAX) -> tuple[list[ws.Event], ws.Partial | None]:
    events: list[ws.Event] = []
    partial: ws.Partial | None = None
    for chunk in chunks:
        more, partial = ws.read(partial, chunk, max_size)
        events += more
        if more and isinstance(more[-1], ws.Closing | ws.Violation):
            break
    return events, partial


def read(data: bytes, max_size: int = MAX) -> list[ws.Event]:
    return read_all([data], max_size)[0]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(at)]


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True)


def raw(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────────────────────────


def oracle(data: bytes) -> tuple[list[ws.Event], int | None]:
    """What `websockets` makes of it: whole messages and control frames, and the code with which it failed the connection."""
    server = Protocol(SERVER, state=State.OPEN, max_size=MAX)
    server.receive_data(data)
    events: list[ws.Event] = []
    parts: list[bytes] = []
    text = False
    for frame in server.events_received():
        assert isinstance(frame, Frame)
        payload = bytes(frame.data)
        if frame.opcode is Opcode.PING:
            events.append(ws.Ping(payload))
        elif frame.opcode is Opcode.PONG:
            events.append(ws.Pong(payload))
        elif frame.opcode is Opcode.CLOSE:
            events.append(ws.Closing(Close.parse(payload).code))
        else:
            if frame.opcode is not Opcode.CONT:
                text, parts = frame.opcode is Opcode.TEXT, []
            parts.append(payload)
            if frame.fin:
                events.append(ws.Message(b"".join(parts), text))
    failed = server.parser_exc is not None and not isinstance(server.parser_exc, EOFError)
    return events, server.close_sent.code if failed and server.close_sent else None


texts = st.text(max_size=300).map(str.encode)
binaries = st.binary(max_size=300) | st.integers(60_000, MAX).map(bytes)
controls = st.lists(st.tuples(st.sampled_from([ws.PING, ws.PONG]), st.binary(max_size=125)), max_size=2)


@st.composite
def message(draw: st.DrawFn) -> bytes:
    """One message of a client in fragments, with control frames in between."""
    opcode, payload = draw(st.tuples(st.just(ws.TEXT), texts) | st.tuples(st.just(ws.BINARY), binaries))
    parts = cut(payload, draw(st.lists(st.integers(0, MAX), max_size=3)))
    data = b""
    for number, part in enumerate(parts):
        kind = ws.CONTINUATION if number else opcode
        data += masked(kind, part, fin=number == len(parts) - 1)
        if number < len(parts) - 1:
            for control, body in draw(controls):
                data += masked(control, body)
    return data


@given(st.lists(message() | controls.map(lambda some: b"".join(masked(*each) for each in some)), max_size=6), st.data())
def test_valid_frames_cut_anywhere_give_the_messages_that_websockets_reads(
    frames: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frames)
    expected, failed = oracle(stream)
    assert failed is None
    events, partial = read_all(cut(stream, data.draw(st.lists(st.integers(0, max(1, len(stream))), max_size=8))))
    assert events == expected
    assert partial is None  # nothing is kept of what is complete


@given(st.lists(message(), max_size=2), st.binary(max_size=400), st.lists(st.integers(0, 1_000), max_size=4))
def test_garbage_gives_what_websockets_gives_and_never_an_exception(
    frames: list[bytes], garbage: bytes, places: list[int]
) -> None:
    stream = b"".join(frames) + garbage
    events, _ = read_all(cut(stream, places))
    expected, failed = oracle(stream)
    last = events[-1] if events else None
    if isinstance(last, ws.Violation):
        assert last.code in (1002, 1007, 1009)
        events.pop()
        # We check text as UTF-8 and judge a frame by its first bytes, so we may refuse earlier, never later.
        assert expected[: len(events)] == events
        if failed is not None and last.code != 1007 and len(expected) == len(events):
            assert failed == last.code
    else:
        assert failed is None
        assert events == expected[: len(events)]
        if not isinstance(last, ws.Closing):
            assert events == expected


@given(st.binary(min_size=1, max_size=60))
def test_text_is_refused_exactly_when_it_is_not_utf8_however_it_is_fragmented(payload: bytes) -> None:
    try:
        payload.decode()
        expected: ws.Event = ws.Message(payload, True)
    except UnicodeDecodeError:
        expected = ws.Violation(1007, "text must be UTF-8")
    for place in range(len(payload)):
        stream = masked(ws.TEXT, payload[:place], fin=False) + masked(ws.CONTINUATION, payload[place:])
        assert read(stream) == [expected]
    assert read(masked(ws.TEXT, payload)) == [expected]


@given(st.binary(max_size=70_000), st.booleans())
def test_websockets_reads_what_is_written(payload: bytes, text: bool) -> None:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.receive_data(ws.data_frame(payload, text=text) + ws.pong_frame(b"p") + ws.close_frame(4001, "gone"))
    data, pong, _ = client.events_received()
    assert isinstance(data, Frame)
    assert (data.opcode, bytes(data.data), data.fin) == (Opcode.TEXT if text else Opcode.BINARY, payload, True)
    assert isinstance(pong, Frame)
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"p")
    assert client.close_rcvd == Close(4001, "gone")


@given(st.text(max_size=200))
def test_a_close_reason_is_cut_to_a_control_frame_and_stays_utf8(reason: str) -> None:
    frame = ws.close_frame(4300, reason)
    assert len(frame) <= 2 + ws.MAX_CONTROL
    assert reason.startswith(frame[4:].decode())


# ── the RFC's rules one by one ──────────────────────────────────────────────────────────────────────────────────────

MASK = b"\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(raw(0x82, 0x01, b"x"), 1002, id="unmasked"),
        pytest.param(raw(0xC2, 0x80, MASK), 1002, id="reserved bit 1"),
        pytest.param(raw(0xA2, 0x80, MASK), 1002, id="reserved bit 2"),
        pytest.param(raw(0x92, 0x80, MASK), 1002, id="reserved bit 3"),
        pytest.param(raw(0x83, 0x80, MASK), 1002, id="reserved data opcode"),
        pytest.param(raw(0x8B, 0x80, MASK), 1002, id="reserved control opcode"),
        pytest.param(raw(0x89, 0xFE), 1002, id="control frame of 126 bytes"),
        pytest.param(raw(0x09, 0x80, MASK), 1002, id="fragmented ping"),
        pytest.param(raw(0x80, 0x80, MASK), 1002, id="continuation of nothing"),
        pytest.param(masked(ws.TEXT, b"a", fin=False) + masked(ws.TEXT, b"b"), 1002, id="message within a message"),
        pytest.param(raw(0x82, 0xFF, struct.pack("!Q", MAX + 1)), 1009, id="one byte too long"),
        pytest.param(raw(0x82, 0xFF, b"\xff" * 8), 1009, id="the longest length there is"),
        pytest.param(
            masked(ws.BINARY, bytes(MAX), fin=False) + masked(ws.CONTINUATION, b"x"), 1009, id="too long in fragments"
        ),
        pytest.param(masked(ws.CLOSE, b"\x03"), 1002, id="close code of one byte"),
        pytest.param(masked(ws.CLOSE, struct.pack("!H", 4000) + b"\xff"), 1007, id="close reason not UTF-8"),
    ],
)
def test_a_violation_is_answered_with_the_code_of_the_rfc(data: bytes, code: int) -> None:
    *_, last = read(data)
    assert isinstance(last, ws.Violation)
    assert last.code == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_is_a_violation(code: int) -> None:
    assert read(masked(ws.CLOSE, struct.pack("!H", code))) == [ws.Violation(1002, "not a close code")]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_a_close_with_a_good_code_ends_the_reading(code: int) -> None:
    data = masked(ws.CLOSE, struct.pack("!H", code) + b"bye") + masked(ws.TEXT, b"after")
    assert read(data) == [ws.Closing(code)]


def test_a_close_without_a_code_is_told_apart() -> None:
    assert read(masked(ws.CLOSE)) == [ws.Closing(ws.NO_STATUS)]
    assert ws.close_frame(ws.NO_STATUS) == b"\x88\x00"


def test_endless_empty_fragments_keep_nothing() -> None:
    _, partial = read_all([masked(ws.TEXT, fin=False), *[masked(ws.CONTINUATION, fin=False)] * 1_000])
    assert partial is not None
    assert partial.begun is not None
    assert (partial.rest, bytes(partial.begun.payload)) == (b"", b"")


def test_the_largest_message_passes_whole_and_in_fragments() -> None:
    payload = os.urandom(MAX)
    assert read(masked(ws.BINARY, payload)) == [ws.Message(payload, False)]
    stream = masked(ws.BINARY, payload[:1], fin=False) + masked(ws.CONTINUATION, payload[1:])
    assert read(stream) == [ws.Message(payload, False)]


@given(st.binary(max_size=300), st.data())
def test_what_is_kept_of_an_incomplete_frame_is_what_came_of_it(payload: bytes, data: st.DataObject) -> None:
    stream = masked(ws.BINARY, payload)
    place = data.draw(st.integers(1, len(stream) - 1))
    head = len(stream) - len(payload)
    events, partial = read_all([stream[:place]])
    assert events == []
    assert partial is not None
    if place < head:
        assert (partial.rest, partial.begun) == (stream[:place], None)
    else:
        assert partial.begun is not None
        assert (partial.rest, bytes(partial.begun.payload)) == (b"", payload[: place - head])


# ── the short way ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from([ws.TEXT, ws.BINARY]), st.binary(max_size=130), st.booleans())
def test_the_short_way_says_what_the_general_way_says_or_nothing(opcode: int, payload: bytes, text: bool) -> None:
    data = masked(opcode, payload)
    found = ws.short(data, text=text)
    if found is not None:
        assert read(data) == [ws.Message(found, text)]
    else:
        assert (opcode == ws.TEXT) is not text or len(payload) > ws.MAX_CONTROL or not payload.isascii()


@given(st.binary(max_size=140))
def test_the_short_way_of_anything_is_the_general_way_or_nothing(data: bytes) -> None:
    for text in (True, False):
        found = ws.short(data, text=text)
        assert found is None or read(data) == [ws.Message(found, text)]
