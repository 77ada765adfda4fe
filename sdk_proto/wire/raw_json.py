"""JSON that travels as it came (`data`, `body`, `value`): checked, never built into objects."""

import msgspec

from sdk_proto.wire.codec import FrameError

NONE = msgspec.Raw()
_check = msgspec.json.Decoder(msgspec.Raw)


def raw_json(where: str, text: bytes) -> msgspec.Raw:
    """`text` without the white space around it; empty for nothing or `null`. Raises FrameError if it is not JSON in UTF-8.

    JSON nested deeper than the interpreter's stack is refused like JSON that is broken.
    """
    if not text:
        return NONE
    try:
        if not text.isascii():
            text.decode()
        raw = _check.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"{where}: not JSON") from error
    return own(raw)


def own(raw: msgspec.Raw | None) -> msgspec.Raw:
    """A copy that doesn't keep the whole message alive; empty for `null`.

    >>> bytes(own(msgspec.Raw(b"null")))
    b''
    """
    if raw is None or bytes(raw) in (b"", b"null"):
        return NONE
    return raw.copy()


def one_line(text: bytes) -> bytes:
    """The same JSON without line breaks: in valid JSON they can only be white space, and the JSON codec's frames end at them.

    >>> one_line(b'{"a":' + bytes([10]) + b'1}')
    b'{"a": 1}'
    """
    return text.replace(b"\n", b" ") if b"\n" in text else text
