"""Envelopes for tests that care about a field or two of theirs."""

from typing import Any

from push_core.envelope import Envelope
from push_core.models import Channels, Kind, Priority

HOUR_MS = 3_600_000


def sample(message_id: int, *devices: str, app: str, sent: int, **fields: Any) -> Envelope:
    """A notification to these devices that lives for an hour, as a caller sends it who says nothing else; `fields` say otherwise."""
    usual: dict[str, Any] = {
        "alias": None,
        "push": f'{{"id":"{message_id}"}}'.encode(),
        "kind": Kind.NOTIFICATION,
        "priority": Priority.NORMAL,
        "channels": Channels.AUTO,
        "collapse": None,
        "expires": sent + HOUR_MS,
        "ack_timeout_ms": 10_000,
        "live_only": False,
        "vendor": None,
        "traceparent": "",
    }
    return Envelope(**{"id": message_id, "app": app, "devices": list(devices), "sent": sent, **usual, **fields})
