"""What callers send and get, as types: decoding checks them, and the OpenAPI document is made from them.

One rule for every optional field: `null` means the same as leaving it out. What a type can't say (exactly one target, sizes taken together) is
in `validation.py`. The gRPC door fills the same models, so both doors refuse the same things in the same words.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push_core.lifecycle import State
from push_core.models import Channels, Kind, Priority
from push_core.topics import MAX_TOPIC

MAX_NAME = 128  # characters of a device, an alias, a collapse key, an idempotency key
MAX_DEVICES = 1_000
MAX_BATCH = 500
MAX_CONTENT = 4_096  # bytes: title, body and data, each encoded as JSON
MAX_VENDOR = 4_096  # bytes: the overrides of all channels, encoded as JSON
MAX_TTL = 604_800
DEFAULT_TTL = 86_400
DEFAULT_ACK_TIMEOUT = 10
MAX_ACK_TIMEOUT = 3_600
MAX_PAGE = 100
MAX_TAGS = 100
MAX_TAG = 64
MAX_TOKENS = 16
MAX_TOPICS = 100  # that a device is subscribed to by its app
MAX_TOKEN = 4_096

_NO_CONTROL = {
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"
}  # checked in validation.py: `$` of Python's re lets \n by
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, extra_json_schema=_NO_CONTROL)]
Label = Annotated[str, Meta(min_length=1, max_length=64, extra_json_schema=_NO_CONTROL)]


Topic = Annotated[str, Meta(min_length=1, max_length=MAX_TOPIC, extra_json_schema={"pattern": r"^[A-Za-z0-9_.:/-]+$"})]
Channel = Annotated[str, Meta(min_length=1, max_length=32, pattern="^[a-z0-9_-]+$")]


def _with(default: Any, description: str) -> Meta:
    """Describe a field that may be `null` in the request and then has this default."""
    return Meta(description=description, extra_json_schema={"x-default": default})


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom a message is for: exactly one of the fields."""

    device: Annotated[Name | None, Meta(description="One device, registered or not.", examples=["phone-1"])] = None
    devices: Annotated[
        Annotated[list[Name], Meta(min_length=1, max_length=MAX_DEVICES)] | None,
        Meta(description="Several devices, each named once."),
    ] = None
    alias: Annotated[Name | None, Meta(description="Every device that is registered with this alias.")] = None
    aliases: Annotated[list[Name] | None, Meta(description="Not offered by this server yet.")] = None
    tags: Annotated[str | None, Meta(description="Not offered by this server yet.")] = None
    topic: Annotated[
        str | None,
        Meta(
            description="Live: every session that is subscribed to this topic now. Needs `ttl` 0.",
            examples=["city-021"],
        ),
    ] = None
    all: Annotated[
        bool | None, Meta(description="Live: every session of the app that is connected now. Needs `ttl` 0.")
    ] = None


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message to be pushed."""

    target: Target
    kind: Annotated[
        Kind | None,
        _with(
            Kind.NOTIFICATION.value,
            "`notification` is shown and needs a title or a body; `passthrough` goes to the application.",
        ),
    ] = None
    title: Annotated[str | None, Meta(examples=["Order 9"])] = None
    body: Annotated[str | None, Meta(examples=["Your courier is at the door"])] = None
    data: Annotated[
        dict[str, Any] | None,
        Meta(
            description=f"For the application. Title, body and data may have {MAX_CONTENT} bytes together, encoded as JSON.",
            examples=[{"order": 9}],
        ),
    ] = None
    priority: Annotated[Priority | None, _with(Priority.NORMAL.value, "Urgent messages overtake the others.")] = None
    ttl: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TTL)] | None,
        _with(DEFAULT_TTL, "Seconds that the message may wait; 0: only if the device is connected now."),
    ] = None
    collapse: Annotated[
        Name | None, Meta(description="Of the waiting messages of a device with one such key the newest stays.")
    ] = None
    channels: Annotated[
        Channels | None,
        _with(
            Channels.AUTO.value,
            "`auto`: the long connection, a vendor if it isn't acknowledged in time; or only one of the two.",
        ),
    ] = None
    ack_timeout: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_ACK_TIMEOUT)] | None,
        _with(DEFAULT_ACK_TIMEOUT, "Seconds to wait for the device's acknowledgement before another road is taken."),
    ] = None
    vendor: Annotated[
        dict[Channel, dict[str, Any]] | None,
        Meta(
            description=f"By the name of the vendor channel, fields for it alone, at most {MAX_VENDOR} bytes encoded as JSON; `webhook` gets "
            "them as `overrides`."
        ),
    ] = None
    idempotency_key: Annotated[
        Name | None,
        Meta(description="A repeat within 24 hours gets the first answer; another message with it gets 409."),
    ] = None


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Several messages; a bad one fails only itself."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_BATCH)]


class RawBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """A batch with a bad message in it: each is then decoded alone."""

    messages: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class Registration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a device is registered with; whatever is left out is cleared."""

    alias: Annotated[Name | None, Meta(description="The app's own user id; several devices may have it.")] = None
    tags: Annotated[
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=MAX_TAG, pattern=r"^[A-Za-z0-9_.:-]+$")]],
            Meta(max_length=MAX_TAGS),
        ]
        | None,
        Meta(examples=[["city-021", "android"]]),
    ] = None
    platform: Annotated[Label | None, Meta(examples=["android"])] = None
    vendor_tokens: Annotated[
        Annotated[
            dict[
                Channel,
                Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN, extra_json_schema=_NO_CONTROL)],
            ],
            Meta(max_length=MAX_TOKENS),
        ]
        | None,
        Meta(
            description="By the name of the vendor channel, the device's token there; `webhook`: any text, it is handed to the endpoint. "
            "Tokens for channels that this server doesn't offer are kept and not used.",
            examples=[{"webhook": "user-7-ios"}],
        ),
    ] = None
    locale: Annotated[Label | None, Meta(examples=["de-AT"])] = None
    time_zone: Annotated[Label | None, Meta(examples=["Europe/Vienna"])] = None
    app_version: Annotated[Label | None, Meta(examples=["4.2.0"])] = None


class TopicList(Struct, frozen=True, forbid_unknown_fields=True):
    """Topics to subscribe a device to, or to unsubscribe it from."""

    topics: Annotated[list[Topic], Meta(min_length=1, max_length=MAX_TOPICS, examples=[["city-021"]])]


class Accepted(Struct, frozen=True):
    """The message is committed; it will be delivered, or end in one of the other states."""

    id: Annotated[str, Meta(examples=["7302118400512032768"])]
    state: State = State.ACCEPTED


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was refused. `field` is the path of the field at fault; `retry` says whether the same request may succeed later."""

    code: str
    message: str
    field: str | None
    retry: bool


class Refused(Struct, frozen=True):
    error: Problem


class Result(Struct, frozen=True):
    """What became of one message of a batch: its id if it was accepted, otherwise the error."""

    id: Annotated[str | UnsetType, Meta(examples=["7302118400512032768"])] = UNSET
    error: Problem | UnsetType = UNSET


class Results(Struct, frozen=True):
    """One for each message, in their order."""

    results: list[Result]


class Delivery(Struct, frozen=True, kw_only=True):
    """One device's delivery. `at` has the Unix milliseconds at which each state was entered."""

    device: str
    channel: str | None
    state: State
    reason: str | None
    at: dict[str, int]


class MessageStatus(Struct, frozen=True, kw_only=True):
    """Where a message is. `state` is that of its most advanced delivery, `counts` has all of them by state, `deliveries` one page in the
    order of the devices' names; `next`, if there is one, is the `after` of the following page. A live broadcast has no deliveries; its `counts`
    are sessions, as gateways count them: `sending` while an acknowledgement may come, then `delivered`, `expired` or `undeliverable`."""

    id: str
    state: State
    reason: str | None
    counts: dict[str, int]
    recalled_at: int | None
    deliveries: list[Delivery]
    next: str | None


class DeviceRecord(Struct, frozen=True, kw_only=True):
    device: str
    alias: str | None
    tags: tuple[str, ...]
    platform: str | None
    vendor_tokens: dict[str, str]
    locale: str | None
    time_zone: str | None
    app_version: str | None
    blocked: bool
    updated: Annotated[int, Meta(description="Unix milliseconds.")]
    topics: Annotated[
        tuple[str, ...],
        Meta(description="That the app has subscribed it to, besides those that it subscribes to itself."),
    ]


class PresenceStatus(Struct, frozen=True, kw_only=True):
    """Whether the device is connected, through which gateway, and since when (Unix milliseconds)."""

    online: bool
    node: str | None = None
    since: int | None = None


class Disconnected(Struct, frozen=True):
    disconnected: Annotated[bool, Meta(description="Whether there was a session to end.")]


class Health(Struct, frozen=True):
    status: str
