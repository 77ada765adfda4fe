"""One queue of a consumer: what came from it and was not taken yet, and how the broker is asked for more. No I/O.

Two ways to more: `looking` asks for one body for each take that waits (basic.get), so that nobody holds what another could handle; a source that was
found empty, or that is taken from all the time, is `subscribed` instead: the broker sends ahead.
"""

from collections import deque
from dataclasses import dataclass

from pamqp import commands as spec

from push_core.clock import WallMs
from push_core.queues.amqp_channel import Content
from push_core.queues.port import Source, Taken

BUSY_AFTER = 16
"""Bodies asked for one by one, without finding the queue empty, after which a subscription is the cheaper way."""


@dataclass(slots=True, eq=False)
class Held:
    """A body that the broker has handed over and not been told about. `life` is that of the channel it came on."""

    source: "AmqpSource"
    delivery_tag: int
    life: int
    body: bytes
    since: WallMs
    redelivered: bool
    tries: int

    def taken(self, tag: int, now: WallMs) -> Taken:
        age_s = max(0, now - self.since) / 1_000
        return Taken(self.source.queue, self.body, tag, self.redelivered, self.tries, age_s)


class AmqpSource:
    """`asked` are questions without an answer yet; `unsettled` what was taken and not settled."""

    __slots__ = (
        "asked", "buffer", "consumer_tag", "found", "heard_at", "looking", "name", "prefetch", "queue", "standing",
        "unsettled", "weight",
    )  # fmt: skip

    def __init__(self, source: Source, name: str) -> None:
        if source.weight < 1 or source.prefetch < 1:
            raise ValueError(f"{source.queue}: weight and prefetch must be at least 1")
        self.queue = source.queue
        self.name = name  # the broker's
        self.weight = source.weight
        self.prefetch = source.prefetch
        self.standing = 0
        self.void()

    def void(self) -> None:
        """The channel is gone: the broker hands out again what was on it."""
        self.buffer: deque[Held] = deque()
        self.unsettled = 0
        self.asked = 0
        self.found = 0
        self.looking = False
        self.consumer_tag = ""
        self.heard_at = 0.0

    @property
    def open(self) -> bool:
        """Whether it could be taken from, as far as known."""
        return self.unsettled < self.prefetch and (bool(self.buffer) or self.looking)

    @property
    def waits(self) -> bool:
        """Whether it is for the broker to send something."""
        return bool(self.consumer_tag) and not self.buffer and self.unsettled < self.prefetch

    def keep(self, content: Content, life: int, now: WallMs) -> Held:
        method: spec.Basic.Deliver | spec.Basic.GetOk = content.method
        redelivered = bool(method.redelivered)
        since = published_at(content.header.properties.message_id, now)
        held = Held(self, method.delivery_tag or 0, life, content.body, since, redelivered, int(redelivered))
        self.buffer.append(held)
        return held


def stamp(number: int, now: WallMs) -> str:
    """The message id of a body: its number on its channel, and when it was published. AMQP's own timestamp knows seconds only."""
    return f"{number:x}.{now:x}"


def published_at(message_id: str | None, now: WallMs) -> WallMs:
    """When a body was published; `now` for one that does not say."""
    try:
        return int((message_id or "").split(".")[1], 16)
    except (IndexError, ValueError):
        return now
