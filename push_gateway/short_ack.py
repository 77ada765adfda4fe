"""The read that a gateway sees most, told and taken apart in one go: one masked frame of `taco.v1+proto` that acks one push as received.

Twenty bytes, of which all but the mask and the id are known beforehand. By way of the general reader and codec the same takes three times as
long (bench/hot_path.py). Whatever looks different in one bit is theirs.
"""

import struct

from sdk_proto.wire.frames import MAX_ID, Ack
from sdk_proto.wire.subprotocols import PROTO

_SIZE = 20  # 2 of head, 4 of mask, 6 of protobuf before the id (RFC 6455 §5.2; `sdk_proto/wire/proto_codec.py`)
_HEAD = 0x8E82  # final binary frame; masked, 14 bytes
_MESSAGE = PROTO.encode([Ack((1,))])
_BEFORE = int.from_bytes(_MESSAGE[:4], "little")
_BEFORE_TOO = int.from_bytes(_MESSAGE[4:6], "little")
_parts = struct.Struct("<HIIHQ").unpack


def acked_id(data: bytes) -> int:
    """The id, or 0 if the read is anything else."""
    if len(data) != _SIZE:
        return 0
    head, mask, before, before_too, masked_id = _parts(data)
    if head != _HEAD or before ^ mask != _BEFORE or before_too ^ mask & 0xFFFF != _BEFORE_TOO:
        return 0
    turned = mask >> 16 | (mask & 0xFFFF) << 16  # the id begins in the middle of the mask
    message_id: int = masked_id ^ turned * 0x1_0000_0001
    return message_id if message_id <= MAX_ID else 0
