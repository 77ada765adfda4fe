"""`taco.v1+proto`: binary messages, one `Frames` of `frames.proto` each.

The frames that make up nearly all traffic (an ack of a few ids, a push prepared once) are read and written as bytes, which
protobuf's fixed encoding allows; everything else goes through the generated classes.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from sdk_proto.wire import frames_pb2 as pb
from sdk_proto.wire import rules
from sdk_proto.wire.codec import FrameError
from sdk_proto.wire.frames import (
    MAX_CLIENT_FRAMES,
    MAX_ID,
    SUBPROTOCOL_PROTO,
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
from sdk_proto.wire.json_shapes import PushShape, read_id
from sdk_proto.wire.raw_json import own, raw_json

_push_shape = msgspec.json.Decoder(PushShape).decode
_any_json = msgspec.json.Decoder().decode

# Frames.frame = 1, Frame.ack = 2, Ack.ids = 1 and Frame.push = 9, each length-delimited (wire type 2); Push.again = 10 and
# Push.via_vendor = 11, varints of 1. https://protobuf.dev/programming-guides/encoding/
_FRAME = 0x0A
_PUSH = 0x4A
_AGAIN = b"\x50\x01"
_VIA_VENDOR = b"\x58\x01"
_MOST_SHORT_IDS = 15  # up to here all three lengths of an ack are one byte
_SHORT_IDS = {count: struct.Struct(f"<{count}Q") for count in range(1, _MOST_SHORT_IDS + 1)}
_SHORT_HEAD = {n: bytes((_FRAME, 4 + 8 * n, 0x12, 2 + 8 * n, 0x0A, 8 * n)) for n in _SHORT_IDS}
_SHORT_ACKS = {
    6 + 8 * n: (_SHORT_HEAD[n], ids.unpack_from) for n, ids in _SHORT_IDS.items()
}  # by length of the message
_SHORT_ACK_OF = {n: (_SHORT_HEAD[n], ids.pack) for n, ids in _SHORT_IDS.items()}  # by number of ids


class ProtoCodec:
    """See `codec.Codec`."""

    subprotocol = SUBPROTOCOL_PROTO
    binary = True

    def received_ids(self, message: bytes) -> tuple[int, ...] | None:
        short = _SHORT_ACKS.get(len(message))
        if short is None or not message.startswith(short[0]):
            return None
        ids: tuple[int, ...] = short[1](message, 6)
        return ids if min(ids) > 0 and max(ids) <= MAX_ID else None

    def decode_client(self, message: bytes) -> list[ClientFrame]:
        ids = self.received_ids(message)
        if ids is not None:
            return [Ack(ids)]
        return _decode(message, _CLIENT, MAX_CLIENT_FRAMES)

    def decode_server(self, message: bytes) -> list[ServerFrame]:
        return _decode(message, _SERVER, None)

    def encode(self, frames: Sequence[ClientFrame | ServerFrame]) -> bytes:
        if len(frames) == 1:
            (frame,) = frames
            if isinstance(frame, Ack) and frame.status == "received" and 0 < len(frame.ids) <= _MOST_SHORT_IDS:
                head, pack = _SHORT_ACK_OF[len(frame.ids)]
                return head + pack(*frame.ids)
        return pb.Frames(frame=[_encode(frame) for frame in frames]).SerializeToString()

    def prepare_push(self, push: bytes) -> bytes:
        # Straight from the shape to the message: by way of a `Push` it takes twice as long, and this is done for every push.
        try:
            shape = _push_shape(push)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"push: {error}") from error
        data = bytes(shape.data)
        if data[:1] != b"{":
            data = bytes(rules.push_data(own(shape.data)))
        fields = pb.Push(
            id=read_id("push.id", shape.id),
            kind=None if shape.kind == "notification" else shape.kind,
            title=shape.title,
            body=shape.body,
            data=data,
            collapse=shape.collapse,
            priority=None if shape.priority == "normal" else shape.priority,
            sent=shape.sent,
            expires=shape.expires,
            again=shape.again,
            via_vendor=shape.via_vendor,
        )
        return _push_message(fields.SerializeToString())

    def finish_push(self, prepared: bytes, *, again: bool, via_vendor: bool) -> bytes:
        if not (again or via_vendor):
            return prepared
        # A protobuf message is completed by fields put behind it; only the two lengths around it change.
        fields = prepared[_after_varint(prepared, _after_varint(prepared, 1) + 1) :]
        return _push_message(fields + (_AGAIN if again else b"") + (_VIA_VENDOR if via_vendor else b""))

    def encode_push(self, push: bytes, *, again: bool, via_vendor: bool) -> bytes:
        prepared = self.prepare_push(push)
        return self.finish_push(prepared, again=again, via_vendor=via_vendor) if again or via_vendor else prepared

    def join(self, messages: Sequence[bytes]) -> bytes:
        return b"".join(messages)  # concatenated messages are merged, and merging appends repeated fields


def _push_message(fields: bytes) -> bytes:
    length = len(fields)
    if length < _SHORT:
        return _SHORT_PUSH[length] + fields
    frame = bytes((_PUSH, *_varint(length))) + fields
    return bytes((_FRAME, *_varint(len(frame)))) + frame


def _varint(value: int) -> tuple[int, ...]:
    if value < 0x80:
        return (value,)
    return (value & 0x7F | 0x80, *_varint(value >> 7))


_SHORT = 1_024  # what stands before the fields of a push, by their length: most pushes are shorter
_SHORT_PUSH = [
    bytes((_FRAME, *_varint(1 + len(_varint(length)) + length), _PUSH, *_varint(length))) for length in range(_SHORT)
]


def _after_varint(message: bytes, at: int) -> int:
    while message[at] >= 0x80:
        at += 1
    return at + 1


def _decode(message: bytes, known: dict[str, Callable[[Any], Any]], most: int | None) -> list[Any]:
    try:
        parsed = pb.Frames.FromString(message).frame
    except DecodeError as error:
        raise FrameError("not a Frames message") from error
    if not parsed:
        raise FrameError("no frame")
    if most is not None and len(parsed) > most:
        raise FrameError(f"more than {most} frames in a message")
    frames: list[Any] = []
    for place, frame in enumerate(parsed):
        name = frame.WhichOneof("type")
        try:
            if name is None:
                frames.append(_unknown(frame))
            elif name in known:
                frames.append(known[name](getattr(frame, name)))
            else:
                frames.append(rules.unknown(name))
        except FrameError as error:
            refusal = FrameError(f"frame {place}: {error}")
            if name != "push" or name not in known or not 1 <= frame.push.id <= MAX_ID:
                raise refusal from error
            frames.append(Undecodable(frame.push.id, str(refusal)))
    return frames


def _unknown(frame: pb.Frame) -> Any:
    unknown: Any = UnknownFieldSet(frame)  # iterable, though its stub doesn't say so
    numbers = {str(field.field_number) for field in unknown}
    if len(numbers) != 1:
        raise FrameError(f"a frame with {len(numbers)} types in place of one")
    return rules.unknown(numbers.pop())


# ── each frame, both ways ───────────────────────────────────────────────────────────────────────────────────────────


def _optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _read_hello(message: pb.Hello) -> Hello:
    return rules.hello(
        app=message.app,
        device=message.device,
        token=message.token,
        versions=message.versions,
        install=message.install,
        attempt=_optional(message, "attempt"),
        heartbeat=_optional(message, "heartbeat"),
        window=_optional(message, "window"),
        state=message.state,
        sdk=message.sdk,
        network=message.network,
        features=message.features,
    )


def _read_welcome(message: pb.Welcome) -> Welcome:
    beat, again = message.heartbeat, message.reconnect
    return rules.welcome(
        version=message.version,
        session=message.session,
        time=message.time,
        heartbeat=rules.heartbeat(**{name: _optional(beat, name) for name in ("min", "max", "grace", "next")}),
        window=_optional(message, "window"),
        max_frame=_optional(message, "max_frame"),
        reconnect=rules.reconnect(**{name: _optional(again, name) for name in ("base_ms", "max_ms", "factor")}),
        pending=message.pending,
        features=message.features,
    )


def _read_push(message: pb.Push) -> Push:
    return rules.push(
        id=message.id,
        kind=message.kind,
        title=message.title,
        body=message.body,
        data=raw_json("push.data", message.data),
        collapse=message.collapse,
        priority=message.priority,
        sent=message.sent,
        expires=message.expires,
        again=message.again,
        via_vendor=message.via_vendor,
    )


def _read_config(message: pb.Config) -> Config:
    value = raw_json("config.value", message.value)
    return rules.config(key=message.key, version=message.version, value=_any_json(value) if bytes(value) else None)


_CLIENT: dict[str, Callable[[Any], Any]] = {
    "hello": _read_hello,
    "ack": lambda message: rules.ack(message.ids, message.status),
    "ping": lambda message: rules.ping(_optional(message, "next")),
    "state": lambda message: rules.state(message.app),
    "call": lambda message: rules.call(
        id=message.id,
        path=message.path,
        body=raw_json("call.body", message.body),
        timeout_ms=_optional(message, "timeout_ms"),
    ),
    "subscribe": lambda message: rules.subscribe(message.topics),
    "unsubscribe": lambda message: rules.unsubscribe(message.topics),
}
_SERVER: dict[str, Callable[[Any], Any]] = {
    "welcome": _read_welcome,
    "push": _read_push,
    "recall": lambda message: rules.recall(message.id),
    "pong": lambda message: rules.pong(message.time, _optional(message, "next")),
    "reply": lambda message: rules.reply(
        id=message.id, status=message.status, body=raw_json("reply.body", message.body)
    ),
    "config": _read_config,
    "migrate": lambda message: rules.migrate(
        urls=message.urls, after_ms=message.after_ms, spread_ms=message.spread_ms, permanent=message.permanent
    ),
    "error": lambda message: rules.error(code=message.code, message=message.message, retry=message.retry),
    "bye": lambda message: rules.bye(code=message.code, reason=message.reason, retry_after_ms=message.retry_after_ms),
}


def _encode(frame: ClientFrame | ServerFrame) -> pb.Frame:
    try:
        name, make = _MAKE[type(frame)]
    except KeyError:
        raise TypeError(f"not a frame that can be sent: {type(frame).__name__}") from None
    return pb.Frame(**{name: make(frame)})


def _hello(frame: Hello) -> pb.Hello:
    return pb.Hello(**msgspec.structs.asdict(frame))


def _welcome(frame: Welcome) -> pb.Welcome:
    fields = msgspec.structs.asdict(frame)
    fields["heartbeat"] = pb.Heartbeat(**msgspec.structs.asdict(frame.heartbeat))
    fields["reconnect"] = pb.Reconnect(**msgspec.structs.asdict(frame.reconnect))
    return pb.Welcome(**fields)


def _push(frame: Push) -> pb.Push:
    return pb.Push(
        id=frame.id,
        kind="" if frame.kind == "notification" else frame.kind,
        title=frame.title or "",
        body=frame.body or "",
        data=bytes(frame.data),
        collapse=frame.collapse or "",
        priority="" if frame.priority == "normal" else frame.priority,
        sent=frame.sent,
        expires=frame.expires,
        again=frame.again,
        via_vendor=frame.via_vendor,
    )


_MAKE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Hello: ("hello", _hello),
    Ack: ("ack", lambda frame: pb.Ack(ids=frame.ids, status="" if frame.status == "received" else frame.status)),
    Ping: ("ping", lambda frame: pb.Ping(next=frame.next)),
    StateChange: ("state", lambda frame: pb.State(app=frame.app)),
    Call: (
        "call",
        lambda frame: pb.Call(id=frame.id, path=frame.path, body=bytes(frame.body), timeout_ms=frame.timeout_ms),
    ),
    Subscribe: ("subscribe", lambda frame: pb.Topics(topics=frame.topics)),
    Unsubscribe: ("unsubscribe", lambda frame: pb.Topics(topics=frame.topics)),
    Welcome: ("welcome", _welcome),
    Push: ("push", _push),
    Recall: ("recall", lambda frame: pb.Recall(id=frame.id)),
    Pong: ("pong", lambda frame: pb.Pong(time=frame.time, next=frame.next)),
    Reply: ("reply", lambda frame: pb.Reply(id=frame.id, status=frame.status, body=bytes(frame.body))),
    Config: (
        "config",
        lambda frame: pb.Config(key=frame.key, version=frame.version, value=msgspec.json.encode(frame.value)),
    ),
    Migrate: ("migrate", lambda frame: pb.Migrate(**msgspec.structs.asdict(frame))),
    Error: ("error", lambda frame: pb.Error(**msgspec.structs.asdict(frame))),
    Bye: ("bye", lambda frame: pb.Bye(**msgspec.structs.asdict(frame))),
}
