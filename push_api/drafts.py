"""A validated message that has no id yet, and the envelope it becomes. Pure.

The push JSON is encoded once, here: everything that the request decides in advance (`content`), id and times spliced in at the commit.
"""

from typing import Any

from msgspec import Struct

from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.models import App, Channels, Kind, Priority


class Content(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The middle of a push frame, in the order of the wire; what is absent is left out."""

    kind: Kind
    title: str | None = None
    body: str | None = None
    data: dict[str, Any] | None = None
    collapse: str | None = None
    priority: Priority


class Draft(Struct, frozen=True, kw_only=True):
    """`content` is the JSON of Content without its braces. `key` and `digest` are set together, for idempotency."""

    devices: list[str]
    alias: str | None
    content: bytes
    kind: Kind
    priority: Priority
    channels: Channels
    collapse: str | None
    ttl_ms: int
    ack_timeout_ms: int
    vendor: dict[str, dict[str, Any]] | None
    key: str | None = None
    digest: bytes = b""
    topic: str | None = None  # live, to its sessions
    everyone: bool = False  # live, to all sessions


def envelope_of(draft: Draft, message_id: int, app: App, now: WallMs, traceparent: str) -> Envelope:
    """The envelope, accepted at `now`. With ttl 0 the message lives until its ack is due."""
    live_only = draft.ttl_ms == 0
    expires = now + (draft.ack_timeout_ms if live_only else draft.ttl_ms)
    return Envelope(
        id=message_id,
        app=app.name,
        devices=draft.devices,
        alias=draft.alias,
        push=b'{"id":"%d",%b,"sent":%d,"expires":%d}' % (message_id, draft.content, now, expires),
        kind=draft.kind,
        priority=draft.priority,
        channels=draft.channels,
        collapse=draft.collapse,
        sent=now,
        expires=expires,
        ack_timeout_ms=draft.ack_timeout_ms,
        live_only=live_only,
        vendor=draft.vendor,
        traceparent=traceparent,
        queue_class=app.queue_class,
        topic=draft.topic,
        everyone=draft.everyone,
    )
