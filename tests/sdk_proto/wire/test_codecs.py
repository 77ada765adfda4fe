"""What both codecs promise, whichever frames and bytes they meet."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec, FrameError
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.sdk_proto.wire.strategies import client_frames, json_object, pushes, server_frames

CODECS = pytest.mark.parametrize("codec", [JSON, PROTO], ids=lambda codec: codec.subprotocol)
PUSH = (
    b'{"id":"7302123456789012345","title":"2 \xc3\x97 ramen","data":{"order":9},"priority":"high","sent":1790000000000}'
)


@CODECS
@given(st.lists(client_frames, min_size=1, max_size=5))
def test_what_a_client_sends_is_what_the_server_reads(codec: Codec, frames: list[Any]) -> None:
    assert codec.decode_client(codec.encode(frames)) == frames


@CODECS
@given(st.lists(server_frames, min_size=1, max_size=5))
def test_what_the_server_sends_is_what_a_client_reads(codec: Codec, frames: list[Any]) -> None:
    assert codec.decode_server(codec.encode(frames)) == frames


@CODECS
@given(st.binary(max_size=200))
@example(b"")
@example(b"\n")
@example(b'{"ack":' + b"[" * 60_000)
@example(b'{"call":{"id":1,"path":"p","body":' + b"[" * 60_000 + b"]" * 60_000 + b"}}")
@example(b'{"hello":{"app":"\\ud800"}}')
@example(b'{"push":{"id":"1","data":{"x":"\xff"}}}')
@example(b"\x0a\x02\x12\x05")
@example(b"\x0a\x00")
def test_garbage_is_refused_and_nothing_else_happens(codec: Codec, message: bytes) -> None:
    for decode in (codec.decode_client, codec.decode_server):
        try:
            frames = decode(message)
        except FrameError:
            continue
        assert frames  # what is not refused happened to be frames


@CODECS
@given(frame=client_frames, data=st.data())
def test_a_damaged_message_is_refused_or_read_as_other_frames(codec: Codec, frame: Any, data: Any) -> None:
    message = bytearray(codec.encode([frame]))
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] = data.draw(st.integers(0, 255))
    for damaged in (bytes(message), bytes(message[:at])):
        for decode in (codec.decode_client, codec.decode_server):
            try:
                decode(damaged)
            except FrameError:
                continue


@CODECS
@given(push=pushes, again=st.booleans(), via=st.booleans())
def test_a_push_prepared_once_carries_the_flags_of_each_session(
    codec: Codec, push: Any, again: bool, via: bool
) -> None:
    plain = msgspec.structs.replace(push, again=False, via_vendor=False)
    canonical = JSON.encode([plain])[len(b'{"push":') : -1]
    prepared = codec.prepare_push(canonical)
    message = codec.finish_push(prepared, again=again, via_vendor=via)
    assert codec.decode_server(message) == [msgspec.structs.replace(plain, again=again, via_vendor=via)]
    assert codec.encode_push(canonical, again=again, via_vendor=via) == message


@CODECS
def test_a_prepared_push_is_itself_the_message_of_a_first_attempt(codec: Codec) -> None:
    prepared = codec.prepare_push(PUSH)
    assert codec.finish_push(prepared, again=False, via_vendor=False) is prepared


@CODECS
def test_data_that_a_caller_wrote_over_several_lines_stays_one_frame(codec: Codec) -> None:
    canonical = b'{"id":"1","data":{\n "a": "x\\ny"\r\n}}'
    (frame,) = codec.decode_server(codec.encode_push(canonical, again=True, via_vendor=False))
    assert isinstance(frame, f.Push)
    assert msgspec.json.decode(frame.data) == {"a": "x\ny"}
    (same,) = codec.decode_server(codec.encode([f.Push(id=1, data=msgspec.Raw(b'{\n "a": "x\\ny"\r\n}'))]))
    assert isinstance(same, f.Push)
    assert msgspec.json.decode(same.data) == {"a": "x\ny"}


@CODECS
@given(json_object)
def test_data_is_handed_over_as_it_was_written(codec: Codec, data: dict[str, Any]) -> None:
    written = msgspec.json.encode(data)
    (frame,) = codec.decode_server(codec.encode([f.Push(id=1, data=msgspec.Raw(written))]))
    assert isinstance(frame, f.Push)
    assert bytes(frame.data) == written


@CODECS
def test_joined_messages_hold_their_frames_in_order(codec: Codec) -> None:
    first, second = f.Recall(1), f.Pong(2)
    joined = codec.join([codec.encode([first, second]), codec.encode_push(PUSH, again=False, via_vendor=False)])
    frames = codec.decode_server(joined)
    assert frames[:2] == [first, second]
    assert isinstance(frames[2], f.Push)


@CODECS
@pytest.mark.parametrize("canonical", [b"", b"[]", b"{}", b"nonsense"])
def test_what_is_not_a_push_is_not_prepared(codec: Codec, canonical: bytes) -> None:
    with pytest.raises(FrameError):
        codec.prepare_push(canonical)


@CODECS
def test_an_unknown_frame_cannot_be_sent(codec: Codec) -> None:
    for frame in (f.Unknown("later"), f.Undecodable(1, "why")):
        with pytest.raises(TypeError):
            codec.encode([frame])


@CODECS
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 64, 65, 512])
@pytest.mark.parametrize("status", f.ACK_STATUSES)
def test_acks_of_every_size_are_read(codec: Codec, count: int, status: str) -> None:
    ack = f.Ack(tuple(range(f.MAX_ID - count + 1, f.MAX_ID + 1)), status)
    assert codec.decode_client(codec.encode([ack])) == [ack]


@CODECS
def test_an_ack_names_at_most_512_ids(codec: Codec) -> None:
    with pytest.raises(FrameError, match=r"frame 0: ack.ids: more than 512"):
        codec.decode_client(codec.encode([f.Ack(tuple(range(1, 514)))]))


@CODECS
@pytest.mark.parametrize("bad", [0, f.MAX_ID + 1])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_an_id_outside_63_bits_is_refused_at_every_length(codec: Codec, bad: int, count: int) -> None:
    with pytest.raises(FrameError, match=r"ack.ids: not an id"):
        codec.decode_client(codec.encode([f.Ack((bad, *range(1, count)))]))


@CODECS
def test_a_client_sends_at_most_256_frames_in_a_message(codec: Codec) -> None:
    assert len(codec.decode_client(codec.encode([f.Ping()] * 256))) == 256
    with pytest.raises(FrameError, match="more than 256 frames"):
        codec.decode_client(codec.encode([f.Ping()] * 257))
    assert len(codec.decode_server(codec.encode([f.Pong(1)] * 257))) == 257


@CODECS
def test_a_frame_of_the_other_direction_is_unknown(codec: Codec) -> None:
    assert codec.decode_client(codec.encode([f.Recall(1)])) == [f.Unknown("recall")]
    assert codec.decode_server(codec.encode([f.Ping()])) == [f.Unknown("ping")]


@CODECS
def test_a_push_of_which_only_the_id_can_be_read_is_told_apart(codec: Codec) -> None:
    broken = f.Push(id=7, data=msgspec.Raw(b"[1]"))
    first, second = codec.decode_server(codec.encode([broken, f.Pong(1)]))
    assert first == f.Undecodable(7, "frame 0: push.data: not a JSON object")
    assert second == f.Pong(1)
    with pytest.raises(FrameError, match="frame 0: push"):
        codec.decode_server(codec.encode([msgspec.structs.replace(broken, id=0)]))


@CODECS
def test_an_error_never_repeats_the_token(codec: Codec) -> None:
    hello = f.Hello(app="a", device="d\x07", token="very-secret", versions=(1,), state="foreground")
    with pytest.raises(FrameError, match=r"hello.device: holds a control character") as caught:
        codec.decode_client(codec.encode([hello]))
    assert "secret" not in str(caught.value)
    with pytest.raises(FrameError) as caught:
        codec.decode_client(codec.encode([hello])[:-9])
    assert "secret" not in str(caught.value)
