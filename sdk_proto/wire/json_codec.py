"""`taco.v1+json`: text messages, one JSON object a line, one key an object.

A line that is empty or white space is skipped, a message without any frame is refused. A field that is `null` counts as absent.
Encoding leaves out what is absent, empty `features` and flags that are false; every other field is written, so that a person
who reads along sees all there is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from sdk_proto.wire import json_shapes as shapes
from sdk_proto.wire import rules
from sdk_proto.wire.codec import FrameError
from sdk_proto.wire.frames import (
    ACK_STATUSES,
    MAX_CLIENT_FRAMES,
    MAX_ID,
    SUBPROTOCOL_JSON,
    Ack,
    Bye,
    Call,
    ClientFrame,
    Config,
    Error,
    Hello,
    Migrate,
    Ping,
    Pong,
    Push,
    Recall,
    Reply,
    ServerFrame,
    StateChange,
    Subscribe,
    Undecodable,
    Unsubscribe,
    Welcome,
)
from sdk_proto.wire.raw_json import one_line


class _Shape(Protocol):
    def frame(self) -> Any: ...


def _decoders(**types: type[_Shape]) -> dict[str, Callable[[msgspec.Raw], _Shape]]:
    return {name: msgspec.json.Decoder(shape).decode for name, shape in types.items()}


_CLIENT = _decoders(
    hello=shapes.HelloShape,
    ack=shapes.AckShape,
    ping=shapes.PingShape,
    state=shapes.StateShape,
    call=shapes.CallShape,
    subscribe=shapes.SubscribeShape,
    unsubscribe=shapes.UnsubscribeShape,
)
_SERVER = _decoders(
    welcome=shapes.WelcomeShape,
    push=shapes.PushShape,
    recall=shapes.RecallShape,
    pong=shapes.PongShape,
    reply=shapes.ReplyShape,
    config=shapes.ConfigShape,
    migrate=shapes.MigrateShape,
    error=shapes.ErrorShape,
    bye=shapes.ByeShape,
)
_push_id = msgspec.json.Decoder(shapes.PushOnlyShape).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_json = msgspec.json.Encoder().encode
# The gateway's most frequent messages: ids received, found by their ends, and a few ids of one status, by a pattern. Whatever
# doesn't look exactly like these takes the general way.
_RECEIVED_HEAD = b'{"ack":{"ids":["'
_RECEIVED_TAIL = b'"],"status":"received"}}'
_RECEIVED_IDS = slice(len(_RECEIVED_HEAD), -len(_RECEIVED_TAIL))
_ID_DIGITS = 19
_ZERO = ord("0")
_SHORT_ACK = re.compile(
    rb'\{"ack":\{"ids":\["([1-9][0-9]{0,18}(?:","[1-9][0-9]{0,18}){0,63})"\](?:,"status":"('
    + "|".join(ACK_STATUSES).encode()
    + rb')")?\}\}\n?'
).fullmatch
_FLAGS = {  # what closes a push, by `again` and `via_vendor`
    (True, False): b',"again":true}}',
    (False, True): b',"via_vendor":true}}',
    (True, True): b',"again":true,"via_vendor":true}}',
}
_STATUS = {status.encode(): status for status in ACK_STATUSES} | {None: ACK_STATUSES[0]}


class JsonCodec:
    """See `codec.Codec`."""

    subprotocol = SUBPROTOCOL_JSON
    binary = False

    def received_ids(self, message: bytes) -> tuple[int, ...] | None:
        if not (message.endswith(_RECEIVED_TAIL) and message.startswith(_RECEIVED_HEAD)):
            return None
        text = message[_RECEIVED_IDS]
        if text.isdigit():  # of one id; several are told by the pattern
            if len(text) > _ID_DIGITS or text[0] == _ZERO:
                return None
            message_id = int(text)
            return (message_id,) if message_id <= MAX_ID else None
        match = _SHORT_ACK(message)
        if match is None:
            return None
        ids = tuple(map(int, match[1].split(b'","')))
        return ids if max(ids) <= MAX_ID else None

    def decode_client(self, message: bytes) -> list[ClientFrame]:
        received = self.received_ids(message)
        if received is not None:
            return [Ack(received)]
        match = _SHORT_ACK(message)
        if match is not None:
            text, status = match.groups()
            ids = tuple(map(int, text.split(b'","')))
            if max(ids) <= MAX_ID:
                return [Ack(ids, _STATUS[status])]
        return _decode(message, _CLIENT, MAX_CLIENT_FRAMES)

    def decode_server(self, message: bytes) -> list[ServerFrame]:
        return _decode(message, _SERVER, None)

    def encode(self, frames: Sequence[ClientFrame | ServerFrame]) -> bytes:
        return b"\n".join([_encode(frame) for frame in frames])

    def prepare_push(self, push: bytes) -> bytes:
        if push[:1] != b"{" or push[-1:] != b"}" or len(push) < 3:
            raise FrameError("push: not a JSON object in canonical form")
        return b'{"push":' + (one_line(push) if b"\n" in push else push) + b"}"

    def finish_push(self, prepared: bytes, *, again: bool, via_vendor: bool) -> bytes:
        return prepared[:-2] + _FLAGS[again, via_vendor] if again or via_vendor else prepared

    def encode_push(self, push: bytes, *, again: bool, via_vendor: bool) -> bytes:
        prepared = self.prepare_push(push)
        return prepared[:-2] + _FLAGS[again, via_vendor] if again or via_vendor else prepared

    def join(self, messages: Sequence[bytes]) -> bytes:
        return b"\n".join(messages)


def _decode(message: bytes, known: Mapping[str, Callable[[msgspec.Raw], _Shape]], most: int | None) -> list[Any]:
    if not message.isascii():
        try:
            message.decode()
        except UnicodeDecodeError as error:
            raise FrameError(f"not UTF-8 at byte {error.start}") from error
    lines = [line for line in message.split(b"\n") if line and not line.isspace()]
    if not lines:
        raise FrameError("no frame")
    if most is not None and len(lines) > most:
        raise FrameError(f"more than {most} frames in a message")
    frames: list[Any] = []
    for place, line in enumerate(lines):
        where = f"frame {place}"
        try:
            fields = _object(line)
            if len(fields) != 1:
                raise FrameError(f"an object with {len(fields)} keys in place of one")
            ((name, value),) = fields.items()
            decode = known.get(name)
            if decode is None:
                frames.append(rules.unknown(name))
                continue
            where = f"frame {place}: {name}"
            frames.append(decode(value).frame())
        except FrameError as error:
            frames.append(_undecodable(line, known, FrameError(f"frame {place}: {error}")))
        except (msgspec.DecodeError, RecursionError) as error:
            # msgspec says which type it met and where, never the value
            frames.append(_undecodable(line, known, FrameError(f"{where}: {error}")))
    return frames


def _undecodable(line: bytes, known: Mapping[str, object], error: FrameError) -> Undecodable:
    """What is left of a push that failed with `error`: its id. Raises `error` if it isn't a push or has no id."""
    try:
        push = _push_id(line).push if "push" in known else None
        if push is not None:
            return Undecodable(shapes.read_id("push.id", push.id), str(error))
    except (FrameError, msgspec.DecodeError, RecursionError):
        pass  # the first error is the one to tell
    raise error


# ── encoding: each frame's fields as JSON has them ──────────────────────────────────────────────────────────────────


def _encode(frame: ClientFrame | ServerFrame) -> bytes:
    try:
        name, fields = _FIELDS[type(frame)]
    except KeyError:
        raise TypeError(f"not a frame that can be sent: {type(frame).__name__}") from None
    return one_line(_json({name: fields(frame)}))


def _given(frame: msgspec.Struct, *names: str) -> dict[str, Any]:
    """The fields that are there; those named are always written."""
    return {
        name: value
        for name, value in msgspec.structs.asdict(frame).items()
        if name in names
        or not (value is None or value is False or value == () or (type(value) is msgspec.Raw and not bytes(value)))
    }


def _with_text_id(frame: msgspec.Struct, *names: str) -> dict[str, Any]:
    fields = _given(frame, *names)
    fields["id"] = str(fields["id"])
    return fields


def _ack(frame: Ack) -> dict[str, Any]:
    return {"ids": [str(message_id) for message_id in frame.ids], "status": frame.status}


_FIELDS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Hello: ("hello", _given),
    Ack: ("ack", _ack),
    Ping: ("ping", _given),
    StateChange: ("state", _given),
    Call: ("call", _given),
    Subscribe: ("subscribe", _given),
    Unsubscribe: ("unsubscribe", _given),
    Welcome: ("welcome", _given),
    Push: ("push", _with_text_id),
    Recall: ("recall", _with_text_id),
    Pong: ("pong", _given),
    Reply: ("reply", _given),
    Config: ("config", lambda frame: _given(frame, "value")),
    Migrate: ("migrate", lambda frame: _given(frame, "permanent")),
    Error: ("error", lambda frame: _given(frame, "retry")),
    Bye: ("bye", _given),
}
