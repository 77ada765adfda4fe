"""What travels in the queues and is kept with the message: everything a dispatcher needs, encoded once.

A queue's message carries a batch of envelopes in MessagePack (`encode_batch`). Structs are encoded as arrays: a later
version may add fields at the end with defaults, and both versions read each other.
"""

import enum
from collections.abc import Sequence

import msgspec

from push_core.models import Channels, Kind, Priority

MAX_BATCH = 256
MAX_BATCH_BYTES = 256 * 1024


class Work(enum.IntEnum):
    """What is to be done for the devices of an envelope."""

    PUSH = 0
    RECALL = 1


class Envelope(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """One message on its way to named devices, to an alias that the dispatcher still has to expand, or, live, to whoever is connected and
    subscribed to a topic, or connected at all.

    `push` is the JSON object of the device protocol's push frame without `again` and `via_vendor` (those belong to a
    delivery): made once by the API, spliced into frames by gateways (encode once, fan out bytes).
    """

    id: int
    app: str
    devices: list[str]  # named targets; empty while `alias` is to be expanded
    alias: str | None
    push: bytes
    kind: Kind
    priority: Priority
    channels: Channels
    collapse: str | None
    sent: int  # Unix ms
    expires: int  # Unix ms
    ack_timeout_ms: int
    live_only: bool  # ttl 0: only if connected now; no inbox, no vendor
    vendor: dict[str, dict[str, object]] | None  # overrides by channel, as the caller gave them
    traceparent: str
    queue_class: str = "shared"
    work: Work = Work.PUSH
    repeat: bool = False  # may have been handled before: ask the store first
    topic: str | None = None  # a live broadcast to its sessions
    everyone: bool = False  # a live broadcast to all sessions of the app

    @property
    def is_broadcast(self) -> bool:
        """Nobody is named, and nobody will be: no delivery of it is stored, only what gateways counted."""
        return self.everyone or self.topic is not None


_encoder = msgspec.msgpack.Encoder()
_one = msgspec.msgpack.Decoder(Envelope)
_many = msgspec.msgpack.Decoder(list[Envelope])


def encode(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def decode(body: bytes) -> Envelope:
    """Raises msgspec.DecodeError (ValidationError among them) for what is not an envelope."""
    return _one.decode(body)


def encode_batch(envelopes: Sequence[Envelope]) -> bytes:
    return _encoder.encode(envelopes)


def decode_batch(body: bytes) -> list[Envelope]:
    """Raises msgspec.DecodeError if any part is not readable: the batch is then split by `split_batch`."""
    return _many.decode(body)


def split_batch(body: bytes) -> list[bytes]:
    """The envelopes of a batch, still encoded, so that one unreadable envelope can be parked alone. Raises msgspec.DecodeError
    if the batch as a whole is not a MessagePack array."""
    return [bytes(part) for part in msgspec.msgpack.decode(body, type=list[msgspec.Raw])]


def join_batch(parts: Sequence[bytes]) -> bytes:
    """A batch of envelopes that are encoded already: the way back from `split_batch`."""
    return _encoder.encode([msgspec.Raw(part) for part in parts])


def queue_name(queue_class: str, priority: Priority) -> str:
    return f"push.{queue_class}.{priority}"


def vendor_queue_name(channel: str) -> str:
    return f"vendor.{channel}"
