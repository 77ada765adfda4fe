from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeviceList(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("device", "devices", "alias", "topic", "all")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    device: str
    devices: DeviceList
    alias: str
    topic: str
    all: bool
    def __init__(self, device: _Optional[str] = ..., devices: _Optional[_Union[DeviceList, _Mapping[str, object]]] = ..., alias: _Optional[str] = ..., topic: _Optional[str] = ..., all: _Optional[bool] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("target", "kind", "title", "body", "data", "priority", "ttl", "collapse", "channels", "ack_timeout", "vendor", "idempotency_key")
    class VendorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    COLLAPSE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    ACK_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    target: Target
    kind: str
    title: str
    body: str
    data: bytes
    priority: str
    ttl: int
    collapse: str
    channels: str
    ack_timeout: int
    vendor: _containers.ScalarMap[str, bytes]
    idempotency_key: str
    def __init__(self, target: _Optional[_Union[Target, _Mapping[str, object]]] = ..., kind: _Optional[str] = ..., title: _Optional[str] = ..., body: _Optional[str] = ..., data: _Optional[bytes] = ..., priority: _Optional[str] = ..., ttl: _Optional[int] = ..., collapse: _Optional[str] = ..., channels: _Optional[str] = ..., ack_timeout: _Optional[int] = ..., vendor: _Optional[_Mapping[str, bytes]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class SendRequest(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: Message
    def __init__(self, message: _Optional[_Union[Message, _Mapping[str, object]]] = ...) -> None: ...

class SendReply(_message.Message):
    __slots__ = ("id", "state")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class SendBatchRequest(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping[str, object]]]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "field", "retry")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    field: str
    retry: bool
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., retry: _Optional[bool] = ...) -> None: ...

class SendBatchReply(_message.Message):
    __slots__ = ("results",)
    class Result(_message.Message):
        __slots__ = ("id", "error")
        ID_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        id: str
        error: Error
        def __init__(self, id: _Optional[str] = ..., error: _Optional[_Union[Error, _Mapping[str, object]]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SendBatchReply.Result]
    def __init__(self, results: _Optional[_Iterable[_Union[SendBatchReply.Result, _Mapping[str, object]]]] = ...) -> None: ...

class GetMessageRequest(_message.Message):
    __slots__ = ("id", "after", "limit")
    ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    id: str
    after: str
    limit: int
    def __init__(self, id: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class RecallRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("device", "channel", "state", "reason", "at")
    class AtEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    device: str
    channel: str
    state: str
    reason: str
    at: _containers.ScalarMap[str, int]
    def __init__(self, device: _Optional[str] = ..., channel: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., at: _Optional[_Mapping[str, int]] = ...) -> None: ...

class MessageStatus(_message.Message):
    __slots__ = ("id", "state", "reason", "counts", "recalled_at", "deliveries", "next")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    RECALLED_AT_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    reason: str
    counts: _containers.ScalarMap[str, int]
    recalled_at: int
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    next: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., counts: _Optional[_Mapping[str, int]] = ..., recalled_at: _Optional[int] = ..., deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping[str, object]]]] = ..., next: _Optional[str] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("alias", "tags", "platform", "vendor_tokens", "locale", "time_zone", "app_version")
    class VendorTokensEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    VENDOR_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    APP_VERSION_FIELD_NUMBER: _ClassVar[int]
    alias: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    platform: str
    vendor_tokens: _containers.ScalarMap[str, str]
    locale: str
    time_zone: str
    app_version: str
    def __init__(self, alias: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., platform: _Optional[str] = ..., vendor_tokens: _Optional[_Mapping[str, str]] = ..., locale: _Optional[str] = ..., time_zone: _Optional[str] = ..., app_version: _Optional[str] = ...) -> None: ...

class PutDeviceRequest(_message.Message):
    __slots__ = ("device", "registration")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    device: str
    registration: Registration
    def __init__(self, device: _Optional[str] = ..., registration: _Optional[_Union[Registration, _Mapping[str, object]]] = ...) -> None: ...

class DeviceRequest(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: str
    def __init__(self, device: _Optional[str] = ...) -> None: ...

class TopicsRequest(_message.Message):
    __slots__ = ("device", "topics")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    device: str
    topics: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, device: _Optional[str] = ..., topics: _Optional[_Iterable[str]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("device", "registration", "blocked", "updated", "topics")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    device: str
    registration: Registration
    blocked: bool
    updated: int
    topics: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, device: _Optional[str] = ..., registration: _Optional[_Union[Registration, _Mapping[str, object]]] = ..., blocked: _Optional[bool] = ..., updated: _Optional[int] = ..., topics: _Optional[_Iterable[str]] = ...) -> None: ...

class ForgetDeviceReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Presence(_message.Message):
    __slots__ = ("online", "node", "since")
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    online: bool
    node: str
    since: int
    def __init__(self, online: _Optional[bool] = ..., node: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...

class DisconnectReply(_message.Message):
    __slots__ = ("disconnected",)
    DISCONNECTED_FIELD_NUMBER: _ClassVar[int]
    disconnected: bool
    def __init__(self, disconnected: _Optional[bool] = ...) -> None: ...
