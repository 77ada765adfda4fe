"""The frames as JSON has them: ids are text, everything may be absent. Only `json_codec` reads these."""

import re
from typing import Annotated, Any

import msgspec

from sdk_proto.wire import rules
from sdk_proto.wire.frames import (
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
    Unsubscribe,
    Welcome,
)
from sdk_proto.wire.raw_json import NONE, own

_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII).fullmatch
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
U53 = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class HelloShape(msgspec.Struct, gc=False):
    app: str | None = None
    device: str | None = None
    token: str | None = None
    versions: list[U32] | None = None
    install: str | None = None
    attempt: U53 | None = None
    heartbeat: U32 | None = None
    window: U32 | None = None
    state: str | None = None
    sdk: str | None = None
    network: str | None = None
    features: list[str] | None = None

    def frame(self) -> Hello:
        return rules.hello(**msgspec.structs.asdict(self))


class AckShape(msgspec.Struct, gc=False):
    ids: list[str] | None = None
    status: str | None = None

    def frame(self) -> Ack:
        return rules.ack(read_ids(self.ids or []), self.status)


class PingShape(msgspec.Struct, gc=False):
    next: U32 | None = None

    def frame(self) -> Ping:
        return rules.ping(self.next)


class StateShape(msgspec.Struct, gc=False):
    app: str | None = None

    def frame(self) -> StateChange:
        return rules.state(self.app)


class CallShape(msgspec.Struct, gc=False):
    id: U53 | None = None
    path: str | None = None
    body: msgspec.Raw = NONE
    timeout_ms: U32 | None = None

    def frame(self) -> Call:
        return rules.call(id=self.id, path=self.path, body=own(self.body), timeout_ms=self.timeout_ms)


class SubscribeShape(msgspec.Struct, gc=False):
    topics: list[str] | None = None

    def frame(self) -> Subscribe:
        return rules.subscribe(self.topics)


class UnsubscribeShape(msgspec.Struct, gc=False):
    topics: list[str] | None = None

    def frame(self) -> Unsubscribe:
        return rules.unsubscribe(self.topics)


class HeartbeatShape(msgspec.Struct, gc=False):
    min: U32 | None = None
    max: U32 | None = None
    grace: float | None = None
    next: U32 | None = None

    def frame(self) -> Heartbeat:
        return rules.heartbeat(**msgspec.structs.asdict(self))


class ReconnectShape(msgspec.Struct, gc=False):
    base_ms: U32 | None = None
    max_ms: U32 | None = None
    factor: float | None = None

    def frame(self) -> Reconnect:
        return rules.reconnect(**msgspec.structs.asdict(self))


class WelcomeShape(msgspec.Struct, gc=False):
    version: U32 | None = None
    session: str | None = None
    time: U53 | None = None
    heartbeat: HeartbeatShape | None = None
    window: U32 | None = None
    max_frame: U32 | None = None
    reconnect: ReconnectShape | None = None
    pending: U32 | None = None
    features: list[str] | None = None

    def frame(self) -> Welcome:
        return rules.welcome(
            version=self.version,
            session=self.session,
            time=self.time,
            heartbeat=None if self.heartbeat is None else self.heartbeat.frame(),
            window=self.window,
            max_frame=self.max_frame,
            reconnect=None if self.reconnect is None else self.reconnect.frame(),
            pending=self.pending,
            features=self.features,
        )


class PushShape(msgspec.Struct, gc=False):
    id: str | None = None
    kind: str | None = None
    title: str | None = None
    body: str | None = None
    data: msgspec.Raw = NONE
    collapse: str | None = None
    priority: str | None = None
    sent: U53 | None = None
    expires: U53 | None = None
    again: bool | None = None
    via_vendor: bool | None = None

    def frame(self) -> Push:
        return rules.push(
            id=read_id("push.id", self.id),
            kind=self.kind,
            title=self.title,
            body=self.body,
            data=own(self.data),
            collapse=self.collapse,
            priority=self.priority,
            sent=self.sent,
            expires=self.expires,
            again=self.again,
            via_vendor=self.via_vendor,
        )


class PushIdShape(msgspec.Struct, gc=False):
    """What is read of a push whose other fields can't be."""

    id: str | None = None


class PushOnlyShape(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A frame that is a push and nothing else."""

    push: PushIdShape | None = None


class RecallShape(msgspec.Struct, gc=False):
    id: str | None = None

    def frame(self) -> Recall:
        return rules.recall(read_id("recall.id", self.id))


class PongShape(msgspec.Struct, gc=False):
    time: U53 | None = None
    next: U32 | None = None

    def frame(self) -> Pong:
        return rules.pong(self.time, self.next)


class ReplyShape(msgspec.Struct, gc=False):
    id: U53 | None = None
    status: U32 | None = None
    body: msgspec.Raw = NONE

    def frame(self) -> Reply:
        return rules.reply(id=self.id, status=self.status, body=own(self.body))


class ConfigShape(msgspec.Struct, gc=False):
    key: str | None = None
    version: U53 | None = None
    value: Any = None

    def frame(self) -> Config:
        return rules.config(**msgspec.structs.asdict(self))


class MigrateShape(msgspec.Struct, gc=False):
    urls: list[str] | None = None
    after_ms: U32 | None = None
    spread_ms: U32 | None = None
    permanent: bool | None = None

    def frame(self) -> Migrate:
        return rules.migrate(**msgspec.structs.asdict(self))


class ErrorShape(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None
    retry: bool | None = None

    def frame(self) -> Error:
        return rules.error(**msgspec.structs.asdict(self))


class ByeShape(msgspec.Struct, gc=False):
    code: U32 | None = None
    reason: str | None = None
    retry_after_ms: U32 | None = None

    def frame(self) -> Bye:
        return rules.bye(**msgspec.structs.asdict(self))


def read_id(where: str, text: str | None) -> int:
    if text is None:
        rules.refuse(where, "missing")
    if _ID(text) is None:
        rules.refuse(where, "not an id: 1 to 2^63-1 as decimal text")
    return int(text)


def read_ids(texts: list[str]) -> list[int]:
    return [read_id("ack.ids", text) for text in texts]
