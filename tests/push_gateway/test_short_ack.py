"""The short way of the most frequent read says what the general way says, or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from push_gateway import websocket_frames as ws
from push_gateway.short_ack import acked_id
from sdk_proto.wire.frames import MAX_ID, Ack
from sdk_proto.wire.subprotocols import PROTO

masks = st.binary(min_size=4, max_size=4)


def frame(payload: bytes, mask: bytes) -> bytes:
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((0x82, 0x80 | len(payload))) + mask + masked


def in_general(data: bytes) -> list[object]:
    events, _ = ws.read(None, data, 65_536)
    (message,) = events
    assert isinstance(message, ws.Message)
    return list(PROTO.decode_client(message.payload))


@given(st.integers(1, MAX_ID), masks)
def test_one_id_is_read_as_the_codec_reads_it(message_id: int, mask: bytes) -> None:
    data = frame(PROTO.encode([Ack((message_id,))]), mask)
    assert acked_id(data) == message_id
    assert in_general(data) == [Ack((message_id,))]


@given(st.integers(1, MAX_ID), masks, st.integers(0, 19), st.integers(1, 255))
def test_a_read_that_differs_before_the_id_is_left_to_the_general_way(
    message_id: int, mask: bytes, place: int, change: int
) -> None:
    data = bytearray(frame(PROTO.encode([Ack((message_id,))]), mask))
    data[place] ^= change
    if 2 <= place < 6 or place >= 12:  # another mask or another id
        found = acked_id(bytes(data))
        assert found == 0 or in_general(bytes(data)) == [Ack((found,))]
    else:
        assert acked_id(bytes(data)) == 0


@given(masks)
def test_what_is_no_id_is_left_to_the_general_way(mask: bytes) -> None:
    payload = PROTO.encode([Ack((1,))])
    for wrong in (0, MAX_ID + 1, 2**64 - 1):
        assert acked_id(frame(payload[:6] + wrong.to_bytes(8, "little"), mask)) == 0


@given(st.lists(st.integers(1, MAX_ID), min_size=2, max_size=15), masks)
def test_several_ids_are_left_to_the_general_way(ids: list[int], mask: bytes) -> None:
    assert acked_id(frame(PROTO.encode([Ack(tuple(ids))]), mask)) == 0
