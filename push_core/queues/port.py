"""The port of the queues. Bodies are opaque bytes; one body is one batch (`push_core.envelope`).

At least once: what was taken and neither acked nor given back is delivered again, marked `redelivered`, when its consumer
closes or dies. Transient: a broker that dies loses what it held, and the relay finds it in the store. Nothing waits
in a queue on purpose. Each queue has a length limit (in bodies): at it a publish is refused, never the oldest dropped.
"""

import enum
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from push_core.clock import WallMs

PARKED = ".parked"
"""What was put aside from queue `q` lies in queue `q.parked`."""


class Parcel(msgspec.Struct, frozen=True):
    queue: str
    body: bytes


class Published(enum.Enum):
    CONFIRMED = "confirmed"
    FULL = "full"  # refused at the length limit; not queued
    UNCONFIRMED = "unconfirmed"  # no answer in time, or the connection was lost: may or may not be queued


class Source(msgspec.Struct, frozen=True):
    """A queue to take from. Over time each source gets its share by weight of the takes while it has something; `prefetch` bounds
    what is taken from it and not yet settled."""

    queue: str
    weight: int = 1
    prefetch: int = 8


class Taken(msgspec.Struct, frozen=True):
    """`tries` counts earlier deliveries of this body as far as known (0: first)."""

    queue: str
    body: bytes
    tag: int
    redelivered: bool
    tries: int
    age_s: float  # time spent in the queue


class Parked(msgspec.Struct, frozen=True):
    """A body that was put aside. `id` names it among those of its queue; `tries` as it was taken last."""

    id: str
    body: bytes
    reason: str
    at: WallMs
    tries: int


class Consumer(Protocol):
    async def take(self) -> Taken:
        """The next body by weights; waits until there is one, outages of the broker included. Raises ConsumerClosed after `close`."""
        ...

    def take_more(self, limit: int) -> list[Taken]:
        """What further calls of `take` would give at once, by the same weights: at most `limit`, often nothing. Never waits; nothing after
        `close`."""
        ...

    async def ack(self, tags: Sequence[int]) -> None:
        """Handled. A tag that is settled already, or whose body the broker has taken back (its connection was lost), is left alone."""
        ...

    async def give_back(self, tags: Sequence[int]) -> None:
        """Not handled: back to the front of its queue, marked redelivered. Tags as in `ack`."""
        ...

    async def close(self) -> None:
        """Stop taking; everything unsettled goes back to its queue."""
        ...


class ConsumerClosed(Exception):
    pass


class Queues(Protocol):
    async def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        """One outcome per parcel. Never raises for a single bad one; a queue is made on first use."""
        ...

    async def consume(self, sources: Sequence[Source]) -> Consumer:
        """Raises Unavailable after `close`. Does not need the broker: what it takes comes when it is there."""
        ...

    async def park(self, queue: str, body: bytes, reason: str, *, tries: int = 0) -> None:
        """Put aside what can't be handled (`<queue>.parked`), for people to look at; bounded, oldest dropped with a count. It outlives the
        broker as far as the broker can. Raises Unavailable."""
        ...

    async def parked(self, queue: str, *, limit: int = 1_000) -> list[Parked]:
        """What was put aside from the queue, oldest first. Raises Unavailable."""
        ...

    async def retry_parked(self, queue: str, ids: Collection[str] | None = None) -> int:
        """Back into the queue, as if published anew: those of these ids, or all; how many. One that the queue does not confirm stays parked."""
        ...

    async def drop_parked(self, queue: str, ids: Collection[str] | None = None) -> int:
        """Remove for good: those of these ids, or all; how many."""
        ...

    async def oldest_age_s(self, queue: str) -> float:
        """How long the oldest body has been waiting; 0 for an empty queue. To ask may mark that body as redelivered. Raises Unavailable."""
        ...

    async def depth(self, queue: str) -> int:
        """How many bodies wait; `q.parked` counts parked ones. Raises Unavailable."""
        ...

    def incarnation(self) -> str:
        """Changes whenever the broker may have lost something that it held (all programs see the same): the relay then looks at all that is
        open. Empty while it is not known yet."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable with the reason when bodies can't be published now."""
        ...

    async def close(self) -> None: ...
