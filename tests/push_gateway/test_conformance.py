"""RFC 6455 from the server's side, case by case in the classes of Autobahn's suite (docs/conformance.md): what a client's bytes mean, however they
are cut into reads."""

import struct
from collections.abc import Iterator

import pytest

from push_gateway import websocket_frames as ws
from push_gateway.websocket_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.push_gateway.test_websocket_frames import read_all

MAX = 4_096
KEY = b"\x37\xfa\x21\x3d"
FIN = 0x80

Stream = tuple[bytes, list[ws.Event]]


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes = KEY) -> bytes:
    """Made by hand rather than by what is tested or by a library: all that a frame can be wrong in can be said."""
    length = len(payload)
    first = (FIN if fin else 0) | rsv << 4 | opcode
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65_536:
        head = bytes((first, 0x80 | 126)) + struct.pack("!H", length)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack("!Q", length)
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


def message(payload: bytes | str) -> ws.Message:
    return ws.Message(payload.encode(), True) if isinstance(payload, str) else ws.Message(payload, False)


def refused(code: int, *before: ws.Event) -> list[ws.Event]:
    return [*before, ws.Violation(code, "")]


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at each place (of a long stream: at its ends and here and there)."""
    yield [stream]
    yield [stream[place : place + 1] for place in range(len(stream))]
    size = len(stream)
    places = (
        range(1, size) if size <= 300 else (*range(1, 40), *range(40, size - 40, size // 40), *range(size - 40, size))
    )
    for place in places:
        yield [stream[:place], stream[place:]]


def without_words(events: list[ws.Event]) -> list[ws.Event]:
    return [ws.Violation(event.code, "") if isinstance(event, ws.Violation) else event for event in events]


def holds(stream: bytes, expected: list[ws.Event]) -> None:
    for chunks in cuts(stream):
        events, partial = read_all(chunks, MAX)
        assert without_words(events) == expected, chunks
        assert partial is None, chunks


def named(cases: dict[str, Stream]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("stream", "expected"), cases.values(), ids=cases.keys())


# ── 1 framing ───────────────────────────────────────────────────────────────────────────────────────────────────────

LENGTHS = (0, 1, 125, 126, 127, 128, 255, 256, MAX)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("key", [KEY, b"\0\0\0\0", b"\xff\xff\xff\xff"], ids=["key", "zeros", "ones"])
def test_a_message_of_each_kind_of_length_comes_as_it_was_sent(length: int, key: bytes) -> None:
    payload = bytes(range(1, 128)) * 40
    holds(frame(BINARY, payload[:length], key=key), [message(payload[:length])])
    text = "*" * length
    holds(frame(TEXT, text.encode(), key=key), [message(text)])


def test_lengths_may_be_written_longer_than_need_be() -> None:
    """Nobody sends that; `websockets` and browsers read it, and it harms nobody."""
    holds(bytes((FIN | BINARY, 0xFE, 0, 1)) + KEY + bytes((KEY[0] ^ 5,)), [message(b"\x05")])
    holds(bytes((FIN | BINARY, 0xFF)) + struct.pack("!Q", 1) + KEY + bytes((KEY[0] ^ 5,)), [message(b"\x05")])


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("length", [0, 1, 125])
def test_a_frame_that_is_not_masked_is_refused_before_its_payload(opcode: int, length: int) -> None:
    holds(frame(TEXT, b"one") + bytes((FIN | opcode, length)), refused(1002, message("one")))


# ── 2 pings and pongs ───────────────────────────────────────────────────────────────────────────────────────────────


@named(
    {
        "empty": (frame(PING), [ws.Ping(b"")]),
        "with text": (frame(PING, b"Hello"), [ws.Ping(b"Hello")]),
        "with bytes": (
            frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
            [ws.Ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
        ),
        "largest": (frame(PING, b"\xfe" * 125), [ws.Ping(b"\xfe" * 125)]),
        "one byte too many": (frame(PING, b"\xfe" * 126)[:2], refused(1002)),
        "with a length of 16 bits": (bytes((FIN | PING, 0xFE)), refused(1002)),
        "with a length of 64 bits": (bytes((FIN | PING, 0xFF)), refused(1002)),
        "pong that nobody asked for": (
            frame(PONG, b"unsolicited") + frame(PING),
            [ws.Pong(b"unsolicited"), ws.Ping(b"")],
        ),
        "ten": (
            b"".join(frame(PING, b"%d" % number) for number in range(10)),
            [ws.Ping(b"%d" % number) for number in range(10)],
        ),
        "in fragments": (frame(PING, b"x", fin=False)[:2], refused(1002)),
        "pong in fragments": (frame(PONG, fin=False)[:2], refused(1002)),
    }
)
def test_pings(stream: bytes, expected: list[ws.Event]) -> None:
    holds(stream, expected)


# ── 3 reserved bits, 4 opcodes ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits_are_refused_and_what_came_before_them_is_not(rsv: int, opcode: int) -> None:
    """The first of them is how compressed messages are told: permessage-deflate is never negotiated (RFC 7692 §6)."""
    holds(frame(TEXT, b"one") + frame(opcode, b"xx", rsv=rsv)[:2], refused(1002, message("one")))
    begun = frame(TEXT, b"one", fin=False)
    holds(begun + frame(opcode, b"xx", rsv=rsv)[:2], refused(1002))


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved"])
def test_reserved_opcodes_are_refused_and_what_came_before_them_is_not(opcode: int, payload: bytes) -> None:
    holds(frame(BINARY, b"one") + frame(opcode, payload)[:2], refused(1002, message(b"one")))
    holds(frame(BINARY, b"one", fin=False) + frame(opcode, payload)[:2], refused(1002))


# ── 5 fragmentation ─────────────────────────────────────────────────────────────────────────────────────────────────


def fragments(*parts: bytes, opcode: int = TEXT) -> list[bytes]:
    last = len(parts) - 1
    return [
        frame(CONTINUATION if place else opcode, part, fin=place == last, key=KEY if place % 2 else KEY[::-1])
        for place, part in enumerate(parts)
    ]


def between(frames: list[bytes], what: bytes) -> bytes:
    return what.join(frames)


@named(
    {
        "two": (b"".join(fragments(b"frag", b"ment")), [message("fragment")]),
        "of bytes": (b"".join(fragments(b"\xff\xfe", b"\x00", opcode=BINARY)), [message(b"\xff\xfe\x00")]),
        "many, of a byte each": (b"".join(fragments(*[b"x"] * 50)), [message("x" * 50)]),
        "all empty": (b"".join(fragments(b"", b"", b"")), [message("")]),
        "empty ones in between": (b"".join(fragments(b"", b"a", b"", b"", b"b", b"")), [message("ab")]),
        "long ones": (b"".join(fragments(b"x" * 200, b"y" * 300)), [message("x" * 200 + "y" * 300)]),
        "two messages": (b"".join(fragments(b"a", b"b") + fragments(b"c", b"d")), [message("ab"), message("cd")]),
        "pings in between": (
            between(fragments(b"1", b"2", b"3"), frame(PING, b"p")),
            [ws.Ping(b"p"), ws.Ping(b"p"), message("123")],
        ),
        "a pong in between": (between(fragments(b"1", b"2"), frame(PONG, b"p")), [ws.Pong(b"p"), message("12")]),
        "a close in between": (between(fragments(b"1", b"2"), frame(CLOSE, b"\x03\xe8")), [ws.Closing(1000)]),
        "a ping in fragments in between": (between(fragments(b"1", b"2"), frame(PING, fin=False))[:9], refused(1002)),
        "another message in between": (between(fragments(b"1", b"2"), frame(TEXT, b"!"))[:9], refused(1002)),
        "another kind in between": (between(fragments(b"1", b"2"), frame(BINARY, b"!"))[:9], refused(1002)),
        "the first twice": (fragments(b"1", b"2")[0] + fragments(b"1", b"2")[0][:2], refused(1002)),
        "a last one first": (frame(CONTINUATION, b"x")[:2], refused(1002)),
        "a middle one first": (frame(CONTINUATION, b"x", fin=False)[:2], refused(1002)),
        "one too many": (b"".join(fragments(b"1", b"2")) + frame(CONTINUATION, b"3")[:2], refused(1002, message("12"))),
    }
)
def test_fragments(stream: bytes, expected: list[ws.Event]) -> None:
    holds(stream, expected)


# ── 6 UTF-8 ─────────────────────────────────────────────────────────────────────────────────────────────────────────

VALID = (
    *(
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\0",
        "\x7f",
        "\x80",
        "\u07ff",
        "\u0800",
        "\ud7ff",
        "\ue000",
        "\ufffd",
        "\uffff",
    ),
    *("\U00010000", "\U0010ffff", "\ufffe", "\U0001fffe", "𝄞", "a\u0300"),
)
# Bytes, and the place of the first that can't be in any UTF-8 text after those before it (Unicode, table 3-7; of a surrogate
# Python's decoder wants the third byte before it says so). None: more could have come.
INVALID: dict[str, tuple[bytes, int | None]] = {
    "continuation": (b"\x80", 0),
    "last continuation": (b"a\xbf", 1),
    "continuations": (b"\xc2\x80\x80", 2),
    "overlong in two": (b"\xc0\xaf", 0),
    "overlong NUL in two": (b"\xc1\x80", 0),
    "overlong in three": (b"\xe0\x9f\xbf", 1),
    "overlong in four": (b"\xf0\x8f\xbf\xbf", 1),
    "first surrogate": (b"\xed\xa0\x80", 2),
    "last surrogate": (b"\xed\xbf\xbf", 2),
    "a pair of surrogates": (b"\xed\xa0\x80\xed\xb0\x80", 2),
    "beyond Unicode": (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
    "beyond four bytes": (b"\xf5\x80\x80\x80", 0),
    "five bytes": (b"\xf8\x88\x80\x80\x80", 0),
    "six bytes": (b"\xfc\x84\x80\x80\x80\x80", 0),
    "FE": (b"ok\xfe", 2),
    "FF": (b"\xff", 0),
    "two begun, then another begins": (b"\xc3\xc3\xa9", 1),
    "three begun, then a letter": (b"\xe2\x82a", 2),
    "four begun, then a letter": (b"\xf0\x9d\x84a", 3),
    "two begun": (b"\xc3", None),
    "three begun": (b"ok \xe2\x82", None),
    "four begun": (b"\xf0\x9d\x84", None),
}


@pytest.mark.parametrize("text", VALID, ids=ascii)
def test_text_that_is_utf8_passes_in_one_frame_and_in_fragments_of_each_byte(text: str) -> None:
    payload = text.encode()
    holds(frame(TEXT, payload), [message(text)])
    holds(b"".join(fragments(*(payload[place : place + 1] for place in range(len(payload))))), [message(text)])


@pytest.mark.parametrize(("payload", "wrong"), INVALID.values(), ids=INVALID.keys())
def test_text_that_is_not_utf8_is_refused_as_soon_as_nothing_can_mend_it(payload: bytes, wrong: int | None) -> None:
    holds(frame(TEXT, b"one") + frame(TEXT, payload), refused(1007, message("one")))
    holds(frame(BINARY, payload), [message(payload)])
    if wrong is None:
        wrong = len(payload)  # only the end of the message shows it
    for longer in (frame(TEXT, payload + b" and more"), frame(TEXT, payload + b" and more", fin=False)):
        upto = wrong + 6
        assert read_all([longer[:upto]], MAX)[0] == []
        assert without_words(read_all([longer[: upto + 1]], MAX)[0]) == refused(1007)
        assert without_words(read_all([longer[:upto], longer[upto : upto + 1]], MAX)[0]) == refused(1007)


def test_text_that_ends_within_a_character_is_refused_at_the_end_and_not_before() -> None:
    begun = frame(TEXT, b"\xe2\x82", fin=False)
    holds(begun + frame(CONTINUATION, b"\xac"), [message("€")])
    holds(begun + frame(PING) + frame(CONTINUATION, b"\xac"), [ws.Ping(b""), message("€")])
    holds(begun + frame(CONTINUATION), refused(1007))
    holds(begun + frame(CONTINUATION, b"\xac\xe2", fin=False) + frame(CONTINUATION, b"\x82"), refused(1007))


# ── 7 close handling ────────────────────────────────────────────────────────────────────────────────────────────────


@named(
    {
        "without a code": (frame(CLOSE), [ws.Closing(ws.NO_STATUS)]),
        "with a code": (frame(CLOSE, b"\x03\xe8"), [ws.Closing(1000)]),
        "with a reason": (frame(CLOSE, b"\x03\xe8fin"), [ws.Closing(1000)]),
        "with the longest reason": (frame(CLOSE, b"\x03\xe8" + b"*" * 123), [ws.Closing(1000)]),
        "with a reason that is too long": (frame(CLOSE, b"\x03\xe8" + b"*" * 124)[:2], refused(1002)),
        "with half a code": (frame(CLOSE, b"\x03"), refused(1002)),
        "with a reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xce\xba\xff"), refused(1007)),
        "with a reason that ends within a character": (frame(CLOSE, b"\x03\xe8\xe2\x82"), refused(1007)),
        "after a message": (frame(TEXT, b"one") + frame(CLOSE, b"\x03\xe8"), [message("one"), ws.Closing(1000)]),
        "in fragments": (frame(CLOSE, b"\x03\xe8", fin=False)[:2], refused(1002)),
    }
)
def test_closes(stream: bytes, expected: list[ws.Event]) -> None:
    holds(stream, expected)


@pytest.mark.parametrize(
    "after",
    [frame(TEXT, b"more"), frame(PING), frame(CLOSE, b"\x03\xe8"), b"\xff" * 20],
    ids=["text", "ping", "close", "garbage"],
)
@pytest.mark.parametrize("end", [frame(CLOSE, b"\x03\xe8"), frame(CLOSE, b"\x03")], ids=["a close", "a violation"])
def test_nothing_is_read_after_the_end(end: bytes, after: bytes) -> None:
    expected = without_words(read_all([end], MAX)[0])
    holds(end + after, expected)


def test_close_codes_are_those_that_may_be_sent() -> None:
    """RFC 6455 §7.4, and the IANA registry of close codes as of 2026."""
    may = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    for code in [*range(990, 1030), *range(2990, 3010), *range(4990, 5010), 0, 65_535]:
        expected = [ws.Closing(code)] if code in may else refused(1002)
        assert without_words(read_all([frame(CLOSE, struct.pack("!H", code))])[0]) == expected, code


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


LONG = [struct.pack("!BQ", 0xFF, size) for size in (MAX + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)]


@pytest.mark.parametrize("announced", [struct.pack("!BH", 0xFE, MAX + 1), *LONG])
def test_a_length_beyond_the_limit_is_refused_before_anything_of_it_has_come(announced: bytes) -> None:
    holds(bytes((FIN | BINARY,)) + announced, refused(1009))
    holds(frame(TEXT, b"one") + bytes((FIN | TEXT,)) + announced, refused(1009, message("one")))


def test_fragments_are_counted_together() -> None:
    half = frame(BINARY, b"x" * (MAX // 2), fin=False)
    rest = frame(CONTINUATION, b"y" * (MAX // 2))
    holds(half + rest, [message(b"x" * (MAX // 2) + b"y" * (MAX // 2))])
    holds(half + frame(CONTINUATION, b"y" * (MAX // 2), fin=False) + frame(CONTINUATION, b"z")[:2], refused(1009))
