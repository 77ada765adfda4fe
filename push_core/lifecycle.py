"""The states of a delivery, as the table that runs before anything changes (docs/states.md).

A rank never falls. `accepted`, `sending`, `waiting` and `vendor` share rank 0 and move among each other freely; an end
is entered from rank 0 only, and left never. Every change of a delivery, in every adapter, goes by `may_move`.
"""

import enum
from collections.abc import Iterable


class State(enum.StrEnum):
    ACCEPTED = "accepted"
    SENDING = "sending"
    WAITING = "waiting"
    VENDOR = "vendor"
    DELIVERED = "delivered"
    DISPLAYED = "displayed"
    CLICKED = "clicked"
    EXPIRED = "expired"
    RECALLED = "recalled"
    UNDELIVERABLE = "undeliverable"


END_RANK = 9
RANK: dict[State, int] = {
    State.ACCEPTED: 0,
    State.SENDING: 0,
    State.WAITING: 0,
    State.VENDOR: 0,
    State.DELIVERED: 1,
    State.DISPLAYED: 2,
    State.CLICKED: 3,
    State.EXPIRED: END_RANK,
    State.RECALLED: END_RANK,
    State.UNDELIVERABLE: END_RANK,
}
OPEN = frozenset(state for state, rank in RANK.items() if rank == 0)
ENDS = frozenset(state for state, rank in RANK.items() if rank == END_RANK)


class Reason(enum.StrEnum):
    """Why a delivery is where it is; shown to callers as `reason`. A line each, and the list is closed."""

    DROPPED = "dropped"  # the application on the device refused it
    UNDECODABLE = "undecodable"  # the client could not read it
    REPLACED = "replaced"  # a newer message with the same collapse key took its place
    INBOX_FULL = "inbox_full"  # the oldest of a full inbox
    NO_CHANNEL = "no_channel"  # `channels: vendor` and no vendor token
    REJECTED = "rejected"  # the vendor refused the message for good
    NO_DEVICE = "no_device"  # an alias without a device
    BLOCKED = "blocked"  # the device is blocked
    POISON = "poison"  # could not be handled; parked for people to look at
    UNCONFIRMED = "unconfirmed"  # handed to a vendor, never confirmed by anybody
    NOT_CONNECTED = "not_connected"  # ttl 0 and no live connection
    NOT_ACKED = "not_acked"  # ttl 0, written, no ack in time
    OFFLINE = "offline"  # waits: no live connection
    FULL = "full"  # waits: the window of the connection is used up
    ACK_MISSED = "ack_missed"  # waits: written, no ack by the deadline
    CONNECTION_LOST = "connection_lost"  # waits: the connection ended before the ack
    TTL = "ttl"  # its time to live ran out


def may_move(current: State, to: State) -> bool:
    """Whether a delivery in `current` may become `to`. Staying where one is is no move.

    >>> may_move(State.WAITING, State.SENDING), may_move(State.DELIVERED, State.EXPIRED), may_move(State.CLICKED, State.DISPLAYED)
    (True, False, False)
    """
    if current is to:
        return False
    at, then = RANK[current], RANK[to]
    if at == 0:
        return True
    return at < then < END_RANK


def most_advanced(states: Iterable[State]) -> State:
    """A message's state: that of its most advanced delivery. Delivered ranks above open, open above ended: while one
    delivery can still arrive the message has not ended. Ends compare in the order recalled, expired, undeliverable."""
    return max(states, key=_ADVANCE.__getitem__)


_ADVANCE: dict[State, int] = {
    state: order
    for order, state in enumerate(
        (
            State.UNDELIVERABLE,
            State.EXPIRED,
            State.RECALLED,
            State.ACCEPTED,
            State.WAITING,
            State.SENDING,
            State.VENDOR,
            State.DELIVERED,
            State.DISPLAYED,
            State.CLICKED,
        )
    )
}
