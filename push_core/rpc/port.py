"""The port of the internal RPC: what programs ask of one another. Batch-first; every call has a deadline.

Two services. A gateway serves `NodeService` at its node's address; dispatchers serve `ReceiptsService`, found by zone. A program asks
through `Peers`, which raises `Unavailable` (not reached, nothing done) or `DeadlineExceeded` (unknown). Structs are
MessagePack arrays: new fields go at the end with defaults, so that neighbouring releases understand each other.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

import msgspec

from push_core.rpc.zones import Zones

DEADLINE_S = 5.0


class Offer(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """One message for some devices of one node. `push` as in `Envelope.push`; empty for a recall."""

    id: int
    app: str
    devices: list[str]
    push: bytes
    expires: int  # Unix ms: a gateway drops what is past it
    ack_timeout_ms: int
    priority: int = 2  # Priority.order
    again: bool = False
    via_vendor: bool = False
    recall: bool = False
    live_only: bool = False


class Taking(enum.IntEnum):
    """What became of one offer to one device. The last two are never sent: they are what a caller concludes."""

    ACCEPTED = 0  # written to the connection, or un-acked there already
    FULL = 1  # the window is used up
    ABSENT = 2  # no session here: correct the route
    EXPIRED = 3  # past `expires` or past the call's deadline when it was looked at: not written
    UNKNOWN = 4  # silence
    NOT_REACHED = 255  # the node certainly did nothing


class Deliver(msgspec.Struct, array_like=True, frozen=True):
    """`incarnation` is the life of the node that the caller means; another one answers ABSENT for all. `deadline` is Unix
    ms of the call's end: a gateway that was stopped meanwhile writes nothing of it when it wakes."""

    incarnation: str
    deadline: int
    offers: list[Offer]
    traceparent: str = ""


class Delivered(msgspec.Struct, array_like=True, frozen=True):
    """One byte (a Taking) for each device of each offer, in order."""

    takings: bytes


class Kick(msgspec.Struct, array_like=True, frozen=True):
    """End a session: the one of (app, device) with this epoch, or with any up to it when the epoch is a bound (`-1`: any)."""

    app: str
    device: str
    epoch: int
    code: int  # close code
    reason: str = ""
    incarnation: str = ""


class Poke(msgspec.Struct, array_like=True, frozen=True):
    """Something waits in the inbox of (app, device): look again when there is room."""

    app: str
    device: str


class Cast(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """One message for whoever is connected: the sessions of an app that are subscribed to `topic`, or all of them (None). `push` as in
    `Envelope.push`. Nobody keeps it for who isn't there."""

    id: int
    app: str
    topic: str | None
    push: bytes
    expires: int  # Unix ms: nothing is written past it, and no ack is awaited
    again: bool = False


class Broadcast(msgspec.Struct, array_like=True, frozen=True):
    """`incarnation` and `deadline` as in `Deliver`."""

    incarnation: str
    deadline: int
    casts: list[Cast]
    traceparent: str = ""


class Stage(enum.IntEnum):
    """How far a node is with a cast."""

    TAKEN = 0  # waits for its turn, or is being written
    DONE = 1  # everybody was looked at
    BUSY = 2  # not taken, too many wait: ask again
    LATE = 3  # not taken: past `expires` or past the call's deadline when it was looked at
    ELSEWHERE = 4  # not taken: another life of the node was meant


class Tally(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a node has made of a cast so far, in sessions: `written` to them, `full` windows passed over; of the written ones `acked`, and
    `refused` (acked as dropped or undecodable)."""

    stage: Stage
    written: int = 0
    full: int = 0
    acked: int = 0
    refused: int = 0


class Subscription(msgspec.Struct, array_like=True, frozen=True):
    """Have the session of a device subscribe to topics, or (`on` false) unsubscribe."""

    app: str
    device: str
    topics: list[str]
    on: bool = True


class ReceiptKind(enum.IntEnum):
    RECEIVED = 0
    DISPLAYED = 1
    CLICKED = 2
    DROPPED = 3
    UNDECODABLE = 4
    WRITTEN = 5  # written and still un-acked after a moment: state `sending`
    MISSED = 6  # no ack by the deadline; the connection lives
    LOST = 7  # the connection ended with this push un-acked; `deadline` is when its ack was due
    RECALL_SHOWN = 8  # the device was told of a recall


class Receipt(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a gateway tells about one delivery. (app, device) is the authenticated one of the session, never the client's word."""

    id: int
    app: str
    device: str
    kind: ReceiptKind
    at: int  # Unix ms
    written_at: int = 0  # Unix ms of the write to the connection; 0: not known
    deadline: int = 0  # Unix ms, with LOST and MISSED
    stored: bool = True  # an inbox row or later work may exist for it; False only when the gateway knows that none does


class NodeService(Protocol):
    """Served by a gateway."""

    async def deliver(self, call: Deliver) -> Delivered: ...

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        """Whether there was such a session."""
        ...

    async def poke(self, pokes: Sequence[Poke]) -> None: ...

    async def broadcast(self, call: Broadcast) -> list[Tally]:
        """Take casts, each once: one that the node knows by its id is not written again, however often it comes, so that a caller who knows
        nothing asks once more, and asks again later for the counts. Answers at once; what is taken is written by and by."""
        ...

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        """Whether the device has a session here. Lasts as long as the session."""
        ...


class ReceiptsService(Protocol):
    """Served by dispatchers."""

    async def report(self, receipts: Sequence[Receipt]) -> Sequence[int] | None:
        """Returns when all are in the store (or were found to change nothing), save those at the places that it returns, to be sent
        again: they belong to another zone by the map that this one goes by, or their store of several is away. Raises when all must be."""
        ...


class Peers(Protocol):
    """The calling side. One connection per peer, closed when its node is gone; calls in flight per peer are bounded."""

    async def deliver(self, address: str, call: Deliver, *, timeout_s: float = DEADLINE_S) -> Delivered: ...

    async def kick(self, address: str, kicks: Sequence[Kick], *, timeout_s: float = DEADLINE_S) -> list[bool]: ...

    async def poke(self, address: str, pokes: Sequence[Poke], *, timeout_s: float = DEADLINE_S) -> None: ...

    async def broadcast(self, address: str, call: Broadcast, *, timeout_s: float = DEADLINE_S) -> list[Tally]: ...

    async def subscribe(
        self, address: str, subscriptions: Sequence[Subscription], *, timeout_s: float = DEADLINE_S
    ) -> list[bool]: ...

    async def report(
        self, zone: str, receipts: Sequence[Receipt], *, timeout_s: float = DEADLINE_S
    ) -> Sequence[int] | None:
        """To one of the zone's receipts services; answers as it does."""
        ...

    async def forget(self, address: str) -> None:
        """The node at the address is gone: close its connection."""
        ...

    async def close(self) -> None: ...


class Listener(Protocol):
    """The serving side of one program."""

    @property
    def address(self) -> str:
        """Where peers reach it, known after start."""
        ...

    async def start(self) -> None: ...

    async def stop(self, grace_s: float) -> None: ...


class Rpc(Protocol):
    """What an adapter (`inproc`, `grpc`) offers a program."""

    @property
    def zones(self) -> Zones:
        """Where peers find receipts services: what settings gave, what listens here, and what `discovery.py` learns."""
        ...

    def peers(self) -> Peers: ...

    def listen(
        self, *, node: NodeService | None = None, receipts: ReceiptsService | None = None, zone: str
    ) -> Listener:
        """A listener for the services given, to be started. A receipts listener makes itself known for its zone: `inproc` by
        registering, `grpc` by the addresses that settings give (`receipts.<zone> = [address, …]`), that discovery finds, or that the
        listener adds in one process."""
        ...
