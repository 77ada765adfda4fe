"""WebSocket frames, server side (RFC 6455 §5): bytes in, messages and control frames out. Pure.

The reader is a function, not an object: between two reads a connection keeps a `Partial` only while a frame or a fragmented
message is incomplete, so that an idle one keeps nothing. Extensions are never negotiated, so reserved bits are violations.
Knows nothing of what messages mean.
"""

import codecs

import msgspec

from push_gateway.handshake import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009
NO_STATUS = 1005  # never on the wire: the peer gave no code
MAX_CONTROL = 125
LEAST_HEAD = 6  # bytes before a short payload from a client: what it is, its length, the mask
_MASKED = 0x80
_WHOLE = _WHOLE_TEXT, _WHOLE_BINARY = 0x80 | TEXT, 0x80 | BINARY
NOT_UTF8 = "text must be UTF-8"
_Utf8 = codecs.getincrementaldecoder("utf-8")


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


class Begun:
    """A message of which not everything has come: in fragments, or its only frame is cut by the reads. Its payload is taken as it comes, so that
    a long frame in many reads costs what its bytes cost, and text that is not UTF-8 is refused at its first wrong byte (RFC 6455 §8.1)."""

    __slots__ = ("_decoder", "_mask", "last", "left", "opcode", "payload")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.payload = bytearray()  # one buffer, so that a million empty fragments keep nothing
        self._decoder = _Utf8("strict") if opcode == TEXT else None
        self._mask = b""
        self.left = 0  # bytes of the frame under way that are still to come
        self.last = False  # that frame ends the message

    def frame(self, length: int, mask: bytes, *, last: bool) -> None:
        """Its next frame begins."""
        self.left, self._mask, self.last = length, mask, last

    def take(self, masked: bytes) -> bool:
        """Bytes of the frame under way, at most `left`; False if the text can't be UTF-8 any more."""
        self.left -= len(masked)
        part = apply_mask(masked, self._mask) if masked else b""
        self.payload += part
        if turn := len(masked) % 4:
            self._mask = self._mask[turn:] + self._mask[:turn]
        if self._decoder is not None:
            try:
                self._decoder.decode(part, self.last and not self.left)
            except UnicodeDecodeError:
                return False
        return True

    def message(self) -> Message:
        return Message(bytes(self.payload), self.opcode == TEXT)


class Partial(msgspec.Struct):
    """What is kept between two reads: `rest`, fewer than 131 bytes of a frame that can't be begun with (its head or a control frame is
    incomplete), and the message that isn't complete."""

    rest: bytes
    begun: Begun | None


def short(data: bytes, *, text: bool) -> bytes | None:
    """The payload, if the read is one short, whole, masked data frame of that kind: nearly every one is. It is told by its first two bytes and its
    length; None says nothing: `read` does it. Text is ASCII."""
    size = len(data)
    if (
        not 6 <= size <= 6 + MAX_CONTROL
        or data[1] != size + _MASKED - 6
        or data[0] != (_WHOLE_TEXT if text else _WHOLE_BINARY)
    ):
        return None
    payload = apply_mask(data[6:], data[2:6])
    return payload if not text or payload.isascii() else None


def read(partial: Partial | None, data: bytes, max_size: int) -> tuple[list[Event], Partial | None]:
    """The events in `data`, which follows what `partial` keeps, and what to keep now.

    `max_size` bounds a message, and with it each frame and what is ever kept. However the same bytes are cut into reads, the events are the same.
    """
    begun: Begun | None = None
    if partial is None:
        # Nearly every read is one short, whole, masked data frame, told by its first two bytes and its length.
        if 6 <= len(data) <= 6 + MAX_CONTROL and data[1] == _MASKED + len(data) - 6 and data[0] in _WHOLE:
            payload = apply_mask(data[6:], data[2:6])
            if data[0] == _WHOLE_BINARY or payload.isascii():
                return [Message(payload, data[0] == _WHOLE_TEXT)], None
    else:
        begun = partial.begun
        if partial.rest:
            data = partial.rest + data
    events: list[Event] = []
    at, end = 0, len(data)
    while True:
        if begun is None or not begun.left:
            if end - at < 2:
                break
            first, second = data[at], data[at + 1]
            kind, length, start = first & 0x0F, second & 0x7F, at + 6
            if first in _WHOLE and second & _MASKED and begun is None:
                pass  # without a fault, as nearly all are
            elif reason := _fault(first, second, begun is not None):
                return _violated(events, PROTOCOL_ERROR, reason)
            if kind >= CLOSE:
                stop = start + length
                if end < stop:
                    break
                control = _control(kind, apply_mask(data[start:stop], data[start - 4 : start]))
                events.append(control)
                if isinstance(control, Closing | Violation):
                    return events, None
                at = stop
                continue
            if length == 126:
                if end < at + 4:
                    break
                start = at + 8
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:
                if end < at + 10:
                    break
                start = at + 14
                length = int.from_bytes(data[at + 2 : at + 10], "big")
            if length > max_size or (begun is not None and len(begun.payload) + length > max_size):
                return _violated(events, TOO_BIG, f"a message has at most {max_size} bytes")
            if end < start:
                break
            mask, at, stop = data[start - 4 : start], start, start + length
            if begun is None:
                if first & 0x80 and stop <= end:  # whole in this read, as nearly all are
                    payload = apply_mask(data[start:stop], mask)
                    if kind == TEXT and not _is_utf8(payload):
                        return _violated(events, INVALID_DATA, NOT_UTF8)
                    events.append(Message(payload, kind == TEXT))
                    at = stop
                    continue
                begun = Begun(kind)
            begun.frame(length, mask, last=first & 0x80 != 0)
        part = data[at : at + begun.left]
        at += len(part)
        if not begun.take(part):
            return _violated(events, INVALID_DATA, NOT_UTF8)
        if begun.left:
            break
        if begun.last:
            events.append(begun.message())
            begun = None
    if at == end and begun is None:
        return events, None
    return events, Partial(data[at:], begun)


def _fault(first: int, second: int, within: bool) -> str:
    """What is wrong with a frame, by its first two bytes; `within`: a message has begun. Empty if nothing is."""
    kind = first & 0x0F
    if first & 0x70:
        return "reserved bits must be 0"
    if not second & _MASKED:
        return "frames from a client must be masked"
    if kind >= CLOSE:
        if kind > PONG:
            return "unknown opcode"
        if second & 0x7F > MAX_CONTROL:
            return "a control frame is too long"
        return "" if first & 0x80 else "a control frame is fragmented"
    if kind > BINARY:
        return "unknown opcode"
    if kind == CONTINUATION:
        return "" if within else "nothing to continue"
    return "a message within another one" if within else ""


def _is_utf8(payload: bytes) -> bool:
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


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
    length = len(payload)
    if length < _USUAL:
        return (_TEXT_HEADS if text else _BINARY_HEADS)[length] + payload
    return _frame(_WHOLE_TEXT if text else _WHOLE_BINARY, payload)


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


_USUAL = 1_024  # what stands before the payload, by its length: nearly all pushes are shorter
_TEXT_HEADS, _BINARY_HEADS = (
    tuple(_frame(first, bytes(length))[: 2 if length < 126 else 4] for length in range(_USUAL))
    for first in (_WHOLE_TEXT, _WHOLE_BINARY)
)
