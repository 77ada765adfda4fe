from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frames(_message.Message):
    __slots__ = ("frame",)
    FRAME_FIELD_NUMBER: _ClassVar[int]
    frame: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frame: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("hello", "ack", "ping", "state", "call", "subscribe", "unsubscribe", "welcome", "push", "recall", "pong", "reply", "config", "migrate", "error", "bye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    PUSH_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    MIGRATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    BYE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    ack: Ack
    ping: Ping
    state: State
    call: Call
    subscribe: Topics
    unsubscribe: Topics
    welcome: Welcome
    push: Push
    recall: Recall
    pong: Pong
    reply: Reply
    config: Config
    migrate: Migrate
    error: Error
    bye: Bye
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., state: _Optional[_Union[State, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., subscribe: _Optional[_Union[Topics, _Mapping]] = ..., unsubscribe: _Optional[_Union[Topics, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., push: _Optional[_Union[Push, _Mapping]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ..., config: _Optional[_Union[Config, _Mapping]] = ..., migrate: _Optional[_Union[Migrate, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., bye: _Optional[_Union[Bye, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("app", "device", "token", "versions", "install", "attempt", "heartbeat", "window", "state", "sdk", "network", "features")
    APP_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    INSTALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SDK_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    app: str
    device: str
    token: str
    versions: _containers.RepeatedScalarFieldContainer[int]
    install: str
    attempt: int
    heartbeat: int
    window: int
    state: str
    sdk: str
    network: str
    features: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, app: _Optional[str] = ..., device: _Optional[str] = ..., token: _Optional[str] = ..., versions: _Optional[_Iterable[int]] = ..., install: _Optional[str] = ..., attempt: _Optional[int] = ..., heartbeat: _Optional[int] = ..., window: _Optional[int] = ..., state: _Optional[str] = ..., sdk: _Optional[str] = ..., network: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("ids", "status")
    IDS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    status: str
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., status: _Optional[str] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("next",)
    NEXT_FIELD_NUMBER: _ClassVar[int]
    next: int
    def __init__(self, next: _Optional[int] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("app",)
    APP_FIELD_NUMBER: _ClassVar[int]
    app: str
    def __init__(self, app: _Optional[str] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("id", "path", "body", "timeout_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    id: int
    path: str
    body: bytes
    timeout_ms: int
    def __init__(self, id: _Optional[int] = ..., path: _Optional[str] = ..., body: _Optional[bytes] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Topics(_message.Message):
    __slots__ = ("topics",)
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, topics: _Optional[_Iterable[str]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("min", "max", "grace", "next")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    min: int
    max: int
    grace: float
    next: int
    def __init__(self, min: _Optional[int] = ..., max: _Optional[int] = ..., grace: _Optional[float] = ..., next: _Optional[int] = ...) -> None: ...

class Reconnect(_message.Message):
    __slots__ = ("base_ms", "max_ms", "factor")
    BASE_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_MS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    base_ms: int
    max_ms: int
    factor: float
    def __init__(self, base_ms: _Optional[int] = ..., max_ms: _Optional[int] = ..., factor: _Optional[float] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "session", "time", "heartbeat", "window", "max_frame", "reconnect", "pending", "features")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    version: int
    session: str
    time: int
    heartbeat: Heartbeat
    window: int
    max_frame: int
    reconnect: Reconnect
    pending: int
    features: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., session: _Optional[str] = ..., time: _Optional[int] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., window: _Optional[int] = ..., max_frame: _Optional[int] = ..., reconnect: _Optional[_Union[Reconnect, _Mapping]] = ..., pending: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ...) -> None: ...

class Push(_message.Message):
    __slots__ = ("id", "kind", "title", "body", "data", "collapse", "priority", "sent", "expires", "again", "via_vendor")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    COLLAPSE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    VIA_VENDOR_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: str
    title: str
    body: str
    data: bytes
    collapse: str
    priority: str
    sent: int
    expires: int
    again: bool
    via_vendor: bool
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[str] = ..., title: _Optional[str] = ..., body: _Optional[str] = ..., data: _Optional[bytes] = ..., collapse: _Optional[str] = ..., priority: _Optional[str] = ..., sent: _Optional[int] = ..., expires: _Optional[int] = ..., again: _Optional[bool] = ..., via_vendor: _Optional[bool] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ("time", "next")
    TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    time: int
    next: int
    def __init__(self, time: _Optional[int] = ..., next: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "status", "body")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    id: int
    status: int
    body: bytes
    def __init__(self, id: _Optional[int] = ..., status: _Optional[int] = ..., body: _Optional[bytes] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ("key", "version", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    version: int
    value: bytes
    def __init__(self, key: _Optional[str] = ..., version: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...

class Migrate(_message.Message):
    __slots__ = ("urls", "after_ms", "spread_ms", "permanent")
    URLS_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    SPREAD_MS_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    urls: _containers.RepeatedScalarFieldContainer[str]
    after_ms: int
    spread_ms: int
    permanent: bool
    def __init__(self, urls: _Optional[_Iterable[str]] = ..., after_ms: _Optional[int] = ..., spread_ms: _Optional[int] = ..., permanent: _Optional[bool] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "retry")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retry: bool
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retry: _Optional[bool] = ...) -> None: ...

class Bye(_message.Message):
    __slots__ = ("code", "reason", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    retry_after_ms: int
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
