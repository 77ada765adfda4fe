"""`taco.v1+json` in the details that protobuf doesn't have."""

import pytest

from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import FrameError
from sdk_proto.wire.subprotocols import JSON


@pytest.mark.parametrize(
    ("message", "frames"),
    [
        (b'{"ping":{}}', [f.Ping()]),
        (b'{"ping":{}}\n', [f.Ping()]),
        (b'\r\n{"ping":{}}\r\n \n{"ping":{"next":3}}', [f.Ping(), f.Ping(3)]),
        (b' { "ping" : { "next" : null } } ', [f.Ping()]),
        (b'{"ping":{"next":3,"colour":"red"}}', [f.Ping(3)]),
        (b'{"ack":{"ids":["7"]}}', [f.Ack((7,))]),
        (b'{"ack":{"status":null,"ids":["7"]}}', [f.Ack((7,))]),
        (b'{"ack":{"ids":["7"],"status":"clicked"}}\n', [f.Ack((7,), "clicked")]),
        (b'{"ack":{"ids":["7","8"]}}', [f.Ack((7, 8))]),
        (b'{"dance":17}', [f.Unknown("dance")]),
        (b'{"' + b"x" * 500 + b'":{}}', [f.Unknown("x" * 64)]),
    ],
)
def test_readable_spellings(message: bytes, frames: list[object]) -> None:
    assert JSON.decode_client(message) == frames


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", "no frame"),
        (b" \n\n", "no frame"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "frame 0: JSON is malformed"),
        (b"[]", "frame 0: Expected `object`, got `array`"),
        (b"{}", "frame 0: an object with 0 keys"),
        (b'{"ping":{},"ack":{"ids":["1"]}}', "frame 0: an object with 2 keys"),
        (b'{"ping":{}}\n{"ping":', "frame 1: "),
        (b'{"ping":{}}{"ping":{}}', "frame 0: JSON is malformed: trailing characters"),
        (b'{"ping":null}', "frame 0: ping: Expected `object`, got `null`"),
        (b'{"ping":{"next":true}}', "frame 0: ping: Expected `int | null`, got `bool`"),
        (b'{"ping":{"next":1.0}}', "got `float`"),
        (b'{"ping":{"next":"1"}}', "got `str`"),
        (b'{"ping":{"next":-1}}', "Expected `int` >= 0"),
        (b'{"ping":{"next":4294967296}}', "Expected `int` <= 4294967295"),
        (b'{"ack":{}}', "frame 0: ack.ids: missing"),
        (b'{"ack":{"ids":[]}}', "frame 0: ack.ids: missing"),
        (b'{"ack":{"ids":[7]}}', "Expected `str`, got `int`"),
        (b'{"ack":{"ids":["07"]}}', "ack.ids: not an id"),
        (b'{"ack":{"ids":["0"]}}', "ack.ids: not an id"),
        (b'{"ack":{"ids":["-7"]}}', "ack.ids: not an id"),
        (b'{"ack":{"ids":[" 7"]}}', "ack.ids: not an id"),
        (b'{"ack":{"ids":[""]}}', "ack.ids: not an id"),
        ('{"ack":{"ids":["٧"]}}'.encode(), "ack.ids: not an id"),
        (b'{"ack":{"ids":["9223372036854775808"]}}', "ack.ids: not an id"),
        (b'{"ack":{"ids":["1"],"status":"eaten"}}', "ack.status: not one of received"),
        (b'{"state":{"app":"asleep"}}', "state.app: not one of foreground, background"),
        (b'{"state":{}}', "state.app: not one of"),
        (b'{"call":{"path":"/a"}}', "call.id: missing"),
        (b'{"call":{"id":1}}', "call.path: missing"),
        (b'{"subscribe":{"topics":[]}}', "subscribe.topics: missing"),
        (b'{"subscribe":{"topics":["a",""]}}', r"subscribe.topics\[1\]: missing"),
        (b'{"hello":{"app":"a","device":"d","token":"t"}}', "hello.versions: missing"),
        (b'{"hello":{"app":"","device":"d","token":"t","versions":[1]}}', "hello.app: missing"),
        (
            b'{"hello":{"app":"a","device":"' + b"d" * 129 + b'","token":"t","versions":[1]}}',
            "hello.device: longer than 128",
        ),
    ],
)
def test_refusals_name_the_frame_and_the_field(message: bytes, error: str) -> None:
    with pytest.raises(FrameError, match=error.replace("|", r"\|")):
        JSON.decode_client(message)


@pytest.mark.parametrize(
    ("message", "frames"),
    [
        (b'{"push":{"id":"7","title":3}}', [7]),
        (b'{"push":{"title":3,"id":"7"}}', [7]),
        (b'{"push":{"id":"7","sent":"yesterday","data":{}}}', [7]),
    ],
)
def test_a_push_with_a_bad_field_keeps_its_id(message: bytes, frames: list[int]) -> None:
    assert [frame.id for frame in JSON.decode_server(message) if isinstance(frame, f.Undecodable)] == frames


@pytest.mark.parametrize(
    "message",
    [b'{"push":{"id":7}}', b'{"push":{}}', b'{"push":[]}', b'{"push":{"id":"7"},"pong":{}}', b'{"push":{"id":"7"'],
)
def test_a_push_without_a_readable_id_is_refused(message: bytes) -> None:
    with pytest.raises(FrameError):
        JSON.decode_server(message)


def test_what_is_absent_is_left_out() -> None:
    assert (
        JSON.encode([f.Push(id=7)])
        == b'{"push":{"id":"7","kind":"notification","priority":"normal","sent":0,"expires":0}}'
    )
    assert JSON.encode([f.Ping()]) == b'{"ping":{}}'
    assert JSON.encode([f.Bye(code=4100), f.Error(code="x")]) == (
        b'{"bye":{"code":4100,"reason":"","retry_after_ms":0}}\n{"error":{"code":"x","message":"","retry":false}}'
    )
