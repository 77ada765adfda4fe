"""What follows from a gateway's answer: tables of plain values, no I/O (flows: settle by `Taking`).

`decide` says what is to be done with a delivery; `Settlement` gathers the rows of a whole batch, so that one batch costs one call to
each neighbour.
"""

import enum
from dataclasses import dataclass, field

from dispatcher.delivery import Delivery, change, inbox_row, later
from dispatcher.screening import expiry
from push_core.clock import WallMs
from push_core.lifecycle import Reason, State
from push_core.messages.port import Change, Later, Task
from push_core.models import Channels
from push_core.rpc.port import Taking


class Then(enum.Enum):
    """What is to be done with a delivery."""

    NOTHING = "nothing"  # in the gateway's hands
    STORE = "store"  # into the inbox
    STORE_AND_FALL_BACK = "store_and_fall_back"  # into the inbox; a vendor is asked at the ack deadline
    VENDOR = "vendor"  # a vendor now, the inbox besides
    EXPIRE = "expire"  # its time is over
    NOT_CONNECTED = "not_connected"  # only if connected now, and it isn't
    PUT_OFF = "put_off"  # nobody knows: looked at again after the ack deadline, no second road before
    PUT_OFF_LIVE = "put_off_live"  # nobody knows, and there is no second road: ends at its deadline unless acked


def decide(taking: Taking | None, channels: Channels, *, live_only: bool, expired: bool, vendor: bool) -> Then:
    """`taking` None: no route. `vendor`: the device can be reached through a vendor. `channels` is never VENDOR here."""
    if taking is Taking.ACCEPTED:
        return Then.NOTHING
    if taking is Taking.UNKNOWN or (taking is Taking.EXPIRED and not expired):
        # EXPIRED before its time: the call's deadline was over when the gateway looked at it. It wrote nothing.
        return Then.PUT_OFF_LIVE if live_only else Then.PUT_OFF
    if live_only:
        return Then.NOT_CONNECTED
    if expired or taking is Taking.EXPIRED:
        return Then.EXPIRE
    if channels is not Channels.AUTO or not vendor:
        return Then.STORE
    # A device whose node can't be reached is about to come back elsewhere, and finds its inbox there.
    return Then.STORE_AND_FALL_BACK if taking in (Taking.FULL, Taking.NOT_REACHED) else Then.VENDOR


@dataclass(slots=True)
class VendorWish:
    """A delivery that is to be handed to a vendor's queue once its change is made."""

    delivery: Delivery
    channel: str
    token: str


@dataclass(slots=True)
class Settlement:
    """The rows of a batch. `wishes` go by the index of their change."""

    changes: list[Change] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)
    stored: list[Delivery] = field(default_factory=list)
    wishes: dict[int, VendorWish] = field(default_factory=dict)

    def add(
        self,
        then: Then,
        delivery: Delivery,
        *,
        now: WallMs,
        reason: Reason = Reason.OFFLINE,
        net_ms: int = 0,
        route: "tuple[str, str] | None" = None,
    ) -> None:
        """`reason` is why it is stored, if it is. `route` is the vendor channel and token that Then.VENDOR needs, `net_ms` how long after now a
        delivery that was handed to a vendor's queue is looked at again."""
        envelope = delivery.envelope
        match then:
            case Then.NOTHING:
                pass
            case Then.STORE:
                self._store(delivery, now, reason, None)
            case Then.STORE_AND_FALL_BACK:
                due = now + envelope.ack_timeout_ms
                self._store(delivery, now, reason, later(delivery, Task.FALLBACK, due))
            case Then.VENDOR:
                assert route is not None
                self.wishes[len(self.changes)] = VendorWish(delivery, *route)
                self._store(delivery, now, reason, later(delivery, Task.FALLBACK, now + net_ms))
            case Then.EXPIRE | Then.NOT_CONNECTED:
                self.changes.append(expiry(delivery, now))
            case Then.PUT_OFF:
                self.later.append(later(delivery, Task.REPUBLISH, now + envelope.ack_timeout_ms))
            case Then.PUT_OFF_LIVE:
                self.later.append(later(delivery, Task.EXPIRE, max(envelope.expires, now)))

    def add_vendor_only(
        self, delivery: Delivery, *, now: WallMs, net_ms: int, route: "tuple[str, str] | None", blocked: bool
    ) -> None:
        """`channels: vendor`: no inbox row, so its deadline is a row of its own."""
        if route is None:
            reason = Reason.BLOCKED if blocked else Reason.NO_CHANNEL
            self.changes.append(change(delivery, State.UNDELIVERABLE, now, reason))
            return
        expire = later(delivery, Task.EXPIRE, delivery.envelope.expires)
        self.changes.append(change(delivery, State.WAITING, now, row=expire))
        self.wishes[len(self.changes)] = VendorWish(delivery, *route)
        fallback = later(delivery, Task.FALLBACK, now + net_ms)
        self.changes.append(change(delivery, State.WAITING, now, row=fallback))

    def _store(self, delivery: Delivery, now: WallMs, reason: Reason, row: Later | None) -> None:
        inbox = inbox_row(delivery.envelope, again=delivery.again)
        self.changes.append(change(delivery, State.WAITING, now, reason, inbox=inbox, row=row))
        self.stored.append(delivery)
