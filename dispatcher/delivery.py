"""One delivery under decision, and the rows made from it. Pure."""

from dataclasses import dataclass

from push_core.envelope import Envelope
from push_core.messages.port import InboxRow
from push_core.models import DeviceKey


@dataclass(slots=True)
class Delivery:
    """One envelope for one device. `again`: an earlier write was tried, or nobody knows."""

    envelope: Envelope
    device: str
    again: bool = False

    @property
    def key(self) -> DeviceKey:
        return self.envelope.app, self.device

    @property
    def row_key(self) -> tuple[int, str, str]:
        return self.envelope.id, self.envelope.app, self.device


def inbox_row(envelope: Envelope, *, again: bool = False, via_vendor: bool = False) -> InboxRow:
    return InboxRow(
        id=envelope.id,
        priority=envelope.priority.order,
        expires=envelope.expires,
        push=envelope.push,
        ack_timeout_ms=envelope.ack_timeout_ms,
        again=again,
        via_vendor=via_vendor,
    )
