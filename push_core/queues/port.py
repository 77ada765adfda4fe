"""The port of the queues. Bodies are opaque bytes; one body is one batch (`push_core.envelope`).

At least once: what was taken and neither acked nor given back is delivered again, marked `redelivered`, when its consumer
closes or dies. Transient: a broker that dies loses what it held, and the relay finds it in the store. Nothing waits
in a queue on purpose. Each queue has a length limit (in bodies): at it a publish is refused, never the oldest dropped.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

import msgspec


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


class Consumer(Protocol):
    async def take(self) -> Taken:
        """The next body by weights; waits until there is one. Raises ConsumerClosed after `close`."""
        ...

    async def ack(self, tags: Sequence[int]) -> None: ...

    async def give_back(self, tags: Sequence[int]) -> None:
        """Not handled: back to the front of its queue, marked redelivered."""
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

    async def consume(self, sources: Sequence[Source]) -> Consumer: ...

    async def park(self, queue: str, body: bytes, reason: str) -> None:
        """Put aside what can't be handled (`<queue>.parked`), for people to look at; bounded, oldest dropped with a count."""
        ...

    async def oldest_age_s(self, queue: str) -> float:
        """How long the oldest body has been waiting; 0 for an empty queue."""
        ...

    async def depth(self, queue: str) -> int: ...

    def incarnation(self) -> str:
        """Changes whenever the broker may have lost what it held: the relay then publishes all that is open."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
