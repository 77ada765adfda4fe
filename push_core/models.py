"""The nouns of the house as plain values, shared by every program. No behaviour beyond what their fields imply."""

import enum
from typing import Any

import msgspec


class Priority(enum.StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def order(self) -> int:
        """0 for urgent … 3 for low: what inboxes sort by."""
        return _ORDER[self]


PRIORITIES = tuple(Priority)
_ORDER = {priority: order for order, priority in enumerate(PRIORITIES)}


class Kind(enum.StrEnum):
    NOTIFICATION = "notification"
    PASSTHROUGH = "passthrough"


class Channels(enum.StrEnum):
    """Which roads a message may take: the long connection first and a vendor if unacked, only one, or only the other."""

    AUTO = "auto"
    LONG = "long"
    VENDOR = "vendor"


class PublicKey(msgspec.Struct, frozen=True):
    """A key pair's public half for device tokens; the algorithm belongs to the key, never to the token."""

    algorithm: str  # "ES256" | "EdDSA"
    pem: str
    kid: str | None = None


class App(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant. API secrets are kept as SHA-256 (they are random, 256 bits); device secrets must be kept readable, since
    HS256 needs them to verify. Two of each at most: rotation."""

    name: str
    key_hashes: tuple[str, ...] = ()  # hex SHA-256 of the part of the key after "<app>."
    device_secrets: tuple[str, ...] = ()
    public_keys: tuple[PublicKey, ...] = ()
    queue_class: str = "shared"
    disabled: bool = False
    rate: float | None = None  # messages a second, all processes together; None: as the push API is set, 0: no limit
    burst: int | None = None  # messages at once, where `rate` is set; None or 0: as many as in a second
    sessions: int | None = None  # most of them on one gateway; None: as the gateway is set, 0: no limit
    channels: dict[str, dict[str, Any]] = msgspec.field(
        default_factory=dict
    )  # vendor channel → its settings and credentials
    created: int = 0

    def __repr__(self) -> str:  # secrets never reach a log through a repr
        return f"App({self.name!r})"


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One installation of a client, as registered. A device needs no record to sign in or be pushed to."""

    app: str
    device: str
    alias: str | None = None
    tags: tuple[str, ...] = ()
    platform: str | None = None
    vendor_tokens: dict[str, str] = msgspec.field(default_factory=dict)
    locale: str | None = None
    time_zone: str | None = None
    app_version: str | None = None
    blocked: bool = False
    updated: int = 0
    topics: tuple[str, ...] = ()  # that the server side has subscribed it to; registering doesn't change them


DeviceKey = tuple[str, str]
"""(app, device): two apps may use the same device name, so nothing is ever keyed by the device alone."""
