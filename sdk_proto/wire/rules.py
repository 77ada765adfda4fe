"""What makes plain values a frame: the rules both codecs share, so that a frame is refused by both or by neither.

Each function takes the fields as a codec read them (None: absent) and gives the frame, or raises FrameError naming the field
and what is wrong with it, never its value: a hello holds a token. An empty text counts as absent, as protobuf can't tell them
apart. A vocabulary that clients speak is closed (`ack.status`, `state.app`); one that servers speak is open, so that a
later server doesn't break an old client.
"""

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from sdk_proto.wire.codec import FrameError
from sdk_proto.wire.frames import (
    ACK_STATUSES,
    APP_STATES,
    DEFAULT_WINDOW,
    MAX_ACK_IDS,
    MAX_FRAME,
    MAX_ID,
    MAX_NUMBER,
    Ack,
    Bye,
    Call,
    Config,
    Error,
    Heartbeat,
    Hello,
    Migrate,
    Ping,
    Pong,
    Push,
    Recall,
    Reconnect,
    Reply,
    StateChange,
    Subscribe,
    Unknown,
    Unsubscribe,
    Welcome,
)

MAX_NAME = 128  # characters of an app, a device or an install
MAX_TOKEN = 8_192
MAX_LABEL = 64  # sdk, network, a feature
MAX_PATH = 1_024
MAX_TOPIC = 256
MAX_TOPICS = 128  # in one frame
MAX_VERSIONS = MAX_FEATURES = 32
_CONTROL = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))  # Unicode category Cc


def refuse(where: str, what: str) -> NoReturn:
    raise FrameError(f"{where}: {what}")


def hello(
    *,
    app: str | None,
    device: str | None,
    token: str | None,
    versions: Sequence[int] | None,
    install: str | None,
    attempt: int | None,
    heartbeat: int | None,
    window: int | None,
    state: str | None,
    sdk: str | None,
    network: str | None,
    features: Sequence[str] | None,
) -> Hello:
    if not versions:
        refuse("hello.versions", "missing")
    if len(versions) > MAX_VERSIONS:
        refuse("hello.versions", f"more than {MAX_VERSIONS}")
    if state and state not in APP_STATES:
        refuse("hello.state", f"not one of {', '.join(APP_STATES)}")
    return Hello(
        app=_needed("hello.app", app, MAX_NAME),
        device=_needed("hello.device", device, MAX_NAME),
        token=_needed("hello.token", token, MAX_TOKEN),
        versions=tuple(versions),
        install=_text("hello.install", install, MAX_NAME),
        attempt=None if attempt is None else _number("hello.attempt", attempt),
        heartbeat=heartbeat,
        window=window,
        state=state or None,
        sdk=_text("hello.sdk", sdk, MAX_LABEL),
        network=_text("hello.network", network, MAX_LABEL),
        features=_list("hello.features", features, MAX_FEATURES, MAX_LABEL),
    )


def ack(ids: Sequence[int], status: str | None) -> Ack:
    if not ids:
        refuse("ack.ids", "missing")
    if len(ids) > MAX_ACK_IDS:
        refuse("ack.ids", f"more than {MAX_ACK_IDS}")
    if min(ids) < 1 or max(ids) > MAX_ID:
        refuse("ack.ids", "not an id: 1 to 2^63-1")
    if not status:
        return Ack(tuple(ids))
    if status not in ACK_STATUSES:
        refuse("ack.status", f"not one of {', '.join(ACK_STATUSES)}")
    return Ack(tuple(ids), status)


def ping(next_s: int | None) -> Ping:
    return Ping(next_s)


def state(app: str | None) -> StateChange:
    if app not in APP_STATES:
        refuse("state.app", f"not one of {', '.join(APP_STATES)}")
    return StateChange(app)


def call(*, id: int | None, path: str | None, body: msgspec.Raw, timeout_ms: int | None) -> Call:  # noqa: A002
    return Call(
        id=_number("call.id", id or 0, least=1),
        path=_needed("call.path", path, MAX_PATH),
        body=body,
        timeout_ms=timeout_ms,
    )


def subscribe(topics: Sequence[str] | None) -> Subscribe:
    return Subscribe(_topics("subscribe.topics", topics))


def unsubscribe(topics: Sequence[str] | None) -> Unsubscribe:
    return Unsubscribe(_topics("unsubscribe.topics", topics))


def unknown(name: str) -> Unknown:
    """The name is cut: it goes back to its sender in an `error`."""
    return Unknown(name[:MAX_LABEL])


def heartbeat(*, min: int | None, max: int | None, grace: float | None, next: int | None) -> Heartbeat:  # noqa: A002
    if next == 0:
        refuse("welcome.heartbeat.next", "zero")
    usual = Heartbeat()
    return Heartbeat(
        min=usual.min if min is None else min,
        max=usual.max if max is None else max,
        grace=usual.grace if grace is None else _factor("welcome.heartbeat.grace", grace),
        next=usual.next if next is None else next,
    )


def reconnect(*, base_ms: int | None, max_ms: int | None, factor: float | None) -> Reconnect:
    usual = Reconnect()
    return Reconnect(
        base_ms=usual.base_ms if base_ms is None else base_ms,
        max_ms=usual.max_ms if max_ms is None else max_ms,
        factor=usual.factor if factor is None else _factor("welcome.reconnect.factor", factor),
    )


def welcome(
    *,
    version: int | None,
    session: str | None,
    time: int | None,
    heartbeat: Heartbeat | None,
    window: int | None,
    max_frame: int | None,
    reconnect: Reconnect | None,
    pending: int | None,
    features: Sequence[str] | None,
) -> Welcome:
    if not version:
        refuse("welcome.version", "missing")
    return Welcome(
        version=version,
        session=session or "",
        time=_number("welcome.time", time or 0),
        heartbeat=heartbeat or Heartbeat(),
        window=DEFAULT_WINDOW if window is None else window,
        max_frame=MAX_FRAME if max_frame is None else max_frame,
        reconnect=reconnect or Reconnect(),
        pending=pending or 0,
        features=tuple(features or ()),
    )


def push(
    *,
    id: int,  # noqa: A002 - the field's name
    kind: str | None,
    title: str | None,
    body: str | None,
    data: msgspec.Raw,
    collapse: str | None,
    priority: str | None,
    sent: int | None,
    expires: int | None,
    again: bool | None,
    via_vendor: bool | None,
) -> Push:
    data = push_data(data)
    return Push(
        id=_id("push.id", id),
        kind=kind or "notification",
        title=title or None,
        body=body or None,
        data=data,
        collapse=collapse or None,
        priority=priority or "normal",
        sent=_number("push.sent", sent or 0),
        expires=_number("push.expires", expires or 0),
        again=bool(again),
        via_vendor=bool(via_vendor),
    )


def push_data(data: msgspec.Raw) -> msgspec.Raw:
    if (raw := bytes(data)) and raw[:1] != b"{":
        refuse("push.data", "not a JSON object")
    return data


def recall(id: int) -> Recall:  # noqa: A002 - the field's name
    return Recall(_id("recall.id", id))


def pong(time: int | None, next_s: int | None) -> Pong:
    if next_s == 0:
        refuse("pong.next", "zero")
    return Pong(_number("pong.time", time or 0), next_s)


def reply(*, id: int | None, status: int | None, body: msgspec.Raw) -> Reply:  # noqa: A002
    return Reply(id=_number("reply.id", id or 0, least=1), status=status or 0, body=body)


def config(*, key: str | None, version: int | None, value: Any) -> Config:
    return Config(key=_needed("config.key", key), version=_number("config.version", version or 0), value=value)


def migrate(
    *, urls: Sequence[str] | None, after_ms: int | None, spread_ms: int | None, permanent: bool | None
) -> Migrate:
    return Migrate(urls=tuple(urls or ()), after_ms=after_ms or 0, spread_ms=spread_ms or 0, permanent=bool(permanent))


def error(*, code: str | None, message: str | None, retry: bool | None) -> Error:
    return Error(code=_needed("error.code", code), message=message or "", retry=bool(retry))


def bye(*, code: int | None, reason: str | None, retry_after_ms: int | None) -> Bye:
    if not code:
        refuse("bye.code", "missing")
    return Bye(code=code, reason=reason or "", retry_after_ms=retry_after_ms or 0)


def _needed(where: str, value: str | None, longest: int | None = None) -> str:
    text = _text(where, value, longest)
    return text if text is not None else refuse(where, "missing")


def _text(where: str, value: str | None, longest: int | None) -> str | None:
    if not value:
        return None
    if longest is not None:
        if len(value) > longest:
            refuse(where, f"longer than {longest} characters")
        if not value.isprintable() and not _CONTROL.isdisjoint(value):
            refuse(where, "holds a control character")
    return value


def _list(where: str, values: Sequence[str] | None, most: int, longest: int) -> tuple[str, ...]:
    if not values:
        return ()
    if len(values) > most:
        refuse(where, f"more than {most}")
    return tuple([_needed(f"{where}[{place}]", value, longest) for place, value in enumerate(values)])


def _topics(where: str, topics: Sequence[str] | None) -> tuple[str, ...]:
    return _list(where, topics, MAX_TOPICS, MAX_TOPIC) or refuse(where, "missing")


def _factor(where: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 1):
        refuse(where, "not a number of at least 1")
    return value


def _id(where: str, value: int) -> int:
    if not 1 <= value <= MAX_ID:
        refuse(where, "not an id: 1 to 2^63-1")
    return value


def _number(where: str, value: int, least: int = 0) -> int:
    if value < least:
        refuse(where, "missing" if value == 0 else "negative")
    if value > MAX_NUMBER:
        refuse(where, "more than 2^53-1")
    return value
