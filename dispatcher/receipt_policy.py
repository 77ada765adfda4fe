"""What a receipt does to its delivery. Tables of plain values, no I/O."""

from collections.abc import Mapping

from dispatcher.delivery import Delivery, change, inbox_row, later
from dispatcher.settle import Settlement, VendorWish
from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.lifecycle import OPEN, Reason, State
from push_core.messages.port import Change, Later, Standing, Task
from push_core.models import Channels
from push_core.rpc.port import Receipt, ReceiptKind

TOLD: Mapping[ReceiptKind, tuple[State, Reason | None]] = {
    ReceiptKind.RECEIVED: (State.DELIVERED, None),
    ReceiptKind.DISPLAYED: (State.DISPLAYED, None),
    ReceiptKind.CLICKED: (State.CLICKED, None),
    ReceiptKind.DROPPED: (State.UNDELIVERABLE, Reason.DROPPED),
    ReceiptKind.UNDECODABLE: (State.UNDELIVERABLE, Reason.UNDECODABLE),
    ReceiptKind.WRITTEN: (State.SENDING, None),
}
"""Receipts that say what the delivery is now; the store's table of states decides whether it may become that."""

UNACKED = frozenset((ReceiptKind.MISSED, ReceiptKind.LOST))


def told(receipt: Receipt) -> Change:
    to, reason = TOLD[receipt.kind]
    return Change(
        id=receipt.id,
        app=receipt.app,
        device=receipt.device,
        to=to,
        at=receipt.at,
        reason=reason,
        channel="long",
        written_at=receipt.written_at or None,
        stored=receipt.stored,
    )


def unacked(
    receipt: Receipt,
    envelope: Envelope,
    standing: Standing,
    route: tuple[str, str] | None,
    settlement: Settlement,
    *,
    now: WallMs,
    net_ms: int,
) -> None:
    """MISSED: a vendor now if the device can be reached through one (`route`), the inbox besides. LOST: the inbox now, the vendor only if the
    device has not come back and acked by the deadline."""
    if standing.state not in OPEN or standing.recalled:
        return
    delivery = Delivery(envelope, receipt.device, again=True)
    if envelope.live_only:
        settlement.changes.append(change(delivery, State.EXPIRED, now, Reason.NOT_ACKED))
        return
    if envelope.expires <= now:
        reason = Reason.UNCONFIRMED if standing.vendor else Reason.TTL
        settlement.changes.append(change(delivery, State.EXPIRED, now, reason))
        return
    missed = receipt.kind is ReceiptKind.MISSED
    if standing.vendor:
        # A vendor has it already: stays so, and the device gets it once more when it is back.
        inbox = inbox_row(envelope, again=True, via_vendor=True)
        settlement.changes.append(change(delivery, State.VENDOR, now, channel=standing.vendor, inbox=inbox))
    else:
        row: Later | None = None
        if route is not None and envelope.channels is Channels.AUTO:
            due = now + net_ms if missed else max(receipt.deadline, now)
            row = later(delivery, Task.FALLBACK, due)
            if missed:
                settlement.wishes[len(settlement.changes)] = VendorWish(delivery, *route)
        why = Reason.ACK_MISSED if missed else Reason.CONNECTION_LOST
        settlement.changes.append(
            change(delivery, State.WAITING, now, why, inbox=inbox_row(envelope, again=True), row=row)
        )
    if not missed:
        settlement.stored.append(delivery)  # it may be back on another connection already, which has read its inbox
