"""The message that the benchmarks of the store and the dispatcher handle: a notification of an everyday size for one device."""

from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.models import Channels, Kind, Priority

PUSH = b'{"id":"360428286771216512","kind":"notification","title":"Order 4711","body":"' + b"x" * 120 + b'"}'
TTL_MS = 86_400_000


def envelope(message_id: int, app: str, device: str, sent: WallMs) -> Envelope:
    return Envelope(
        id=message_id,
        app=app,
        devices=[device],
        alias=None,
        push=PUSH,
        kind=Kind.NOTIFICATION,
        priority=Priority.NORMAL,
        channels=Channels.AUTO,
        collapse=None,
        sent=sent,
        expires=sent + TTL_MS,
        ack_timeout_ms=10_000,
        live_only=False,
        vendor=None,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
