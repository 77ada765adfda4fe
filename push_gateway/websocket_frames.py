"""WebSocket frames, server side (RFC 6455 §5): bytes in, messages and control frames out. Pure.

The reader is a function, not an object: between two reads a connection keeps a `Partial` only while a frame or a fragmented
message is incomplete, so that an idle one keeps nothing. Extensions are never negotiated, so reserved bits are violations.
Knows nothing of what messages mean.
"""

import msgspec

from push_gateway.handshake import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009
NO_STATUS = 1005  # never on the wire: the peer gave no code
MAX_CONTROL = 125
_MASKED = 0x80
_WHOLE = _WHOLE_TEXT, _WHOLE_BINARY = 0x80 | TEXT, 0x80 | BINARY


class Message(msgspec.Struct, frozen=True, gc=False):
    """A whole data message; text is valid UTF-8."""

    payload: bytes
    text: bool


class Ping(msgspec.Struct, frozen=True, gc=False):
    payload: bytes


class Pong(msgspec.Struct, frozen=True, gc=False):
    payload: bytes


class Closing(msgspec.Struct, frozen=True, gc=False):
    """The peer closes, with this code or NO_STATUS. Nothing is read after it."""

    code: int


class Violation(msgspec.Struct, frozen=True, gc=False):
    """The peer breaks the protocol: close with this code (RFC 6455 §7.4.1). Nothing is read after it."""

    code: int
    reason: str


Event = Message | Ping | Pong | Closing | Violation
_NOTHING = bytearray()  # where no message has begun; never written to


class Partial(msgspec.Struct):
    """What is kept between two reads: bytes of an incomplete frame, and what came of an incomplete message (`opcode` is its
    kind; CONTINUATION: none has begun). One buffer, so that a million empty fragments keep nothing."""

    rest: bytes
    opcode: int
    begun: bytearray


def read(partial: Partial | None, data: bytes, max_size: int) -> tuple[list[Event], Partial | None]:
    """The events in `data`, which follows what `partial` keeps, and what to keep now.

    `max_size` bounds a message, and with it each frame and what is ever kept.
    """
    if partial is None:
        # Nearly every read is one short, whole, masked data frame, told by its first two bytes and its length.
        if 6 <= len(data) <= 6 + MAX_CONTROL and data[1] == _MASKED + len(data) - 6 and data[0] in _WHOLE:
            payload = apply_mask(data[6:], data[2:6])
            if data[0] == _WHOLE_BINARY or payload.isascii():
                return [Message(payload, data[0] == _WHOLE_TEXT)], None
        rest, opcode, begun = data, CONTINUATION, _NOTHING
    else:
        rest = partial.rest + data if partial.rest else data
        opcode, begun = partial.opcode, partial.begun
    events: list[Event] = []
    at, end = 0, len(rest)
    while end - at >= 2:
        first, second = rest[at], rest[at + 1]
        kind = first & 0x0F
        if first & 0x70:
            return _violated(events, PROTOCOL_ERROR, "reserved bits must be 0")
        if not second & _MASKED:
            return _violated(events, PROTOCOL_ERROR, "frames from a client must be masked")
        length = second & 0x7F
        start = at + 6
        if kind >= CLOSE:
            if kind > PONG:
                return _violated(events, PROTOCOL_ERROR, "unknown opcode")
            if length > MAX_CONTROL:
                return _violated(events, PROTOCOL_ERROR, "a control frame is too long")
            if not first & 0x80:
                return _violated(events, PROTOCOL_ERROR, "a control frame is fragmented")
        else:
            if kind > BINARY:
                return _violated(events, PROTOCOL_ERROR, "unknown opcode")
            if kind == CONTINUATION and opcode == CONTINUATION:
                return _violated(events, PROTOCOL_ERROR, "nothing to continue")
            if kind != CONTINUATION and opcode != CONTINUATION:
                return _violated(events, PROTOCOL_ERROR, "a message within another one")
            if length == 126:
                if end < at + 4:
                    break
                start = at + 8
                length = rest[at + 2] << 8 | rest[at + 3]
            elif length == 127:
                if end < at + 10:
                    break
                start = at + 14
                length = int.from_bytes(rest[at + 2 : at + 10], "big")
            if len(begun) + length > max_size:
                return _violated(events, TOO_BIG, f"a message has at most {max_size} bytes")
        stop = start + length
        if end < stop:
            break
        payload = apply_mask(rest[start:stop], rest[start - 4 : start])
        at = stop
        if kind >= CLOSE:
            control = _control(kind, payload)
            events.append(control)
            if isinstance(control, Closing | Violation):
                return events, None
            continue
        if not first & 0x80:
            if kind != CONTINUATION:
                opcode, begun = kind, bytearray()
            begun += payload
            continue
        if kind == CONTINUATION:
            payload, kind = bytes(begun + payload), opcode
            opcode, begun = CONTINUATION, _NOTHING
        if kind == TEXT and not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                return _violated(events, INVALID_DATA, "text must be UTF-8")
        events.append(Message(payload, kind == TEXT))
    if at == end and opcode == CONTINUATION:
        return events, None
    return events, Partial(rest[at:], opcode, begun)


def _control(kind: int, payload: bytes) -> Event:
    if kind == PING:
        return Ping(payload)
    if kind == PONG:
        return Pong(payload)
    if not payload:
        return Closing(NO_STATUS)
    if len(payload) == 1:
        return Violation(PROTOCOL_ERROR, "a close code has two bytes")
    code = int.from_bytes(payload[:2], "big")
    if not _may_be_sent(code):
        return Violation(PROTOCOL_ERROR, "not a close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return Violation(INVALID_DATA, "a close reason must be UTF-8")
    return Closing(code)


def _may_be_sent(code: int) -> bool:
    """RFC 6455 §7.4 and the IANA registry that follows it: 1012 to 1014 came later; 1004, 1005, 1006 and 1015 are never sent."""
    return 3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def _violated(events: list[Event], code: int, reason: str) -> tuple[list[Event], None]:
    events.append(Violation(code, reason))
    return events, None


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def data_frame(payload: bytes, *, text: bool) -> bytes:
    """One unfragmented, unmasked data frame."""
    return _frame(0x80 | (TEXT if text else BINARY), payload)


def pong_frame(payload: bytes) -> bytes:
    return _frame(0x80 | PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """The reason is cut to what a control frame holds. NO_STATUS gives a close without a code."""
    if code == NO_STATUS:
        return _frame(0x80 | CLOSE, b"")
    text = reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore").encode()
    return _frame(0x80 | CLOSE, code.to_bytes(2, "big") + text)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 0x10000:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload
