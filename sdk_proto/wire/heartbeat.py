"""When a server takes a client for gone, and how often a client may ping (PROTOCOL.md §5, "Life"). Pure; seconds, monotonic."""

from dataclasses import dataclass

from sdk_proto.wire.frames import Heartbeat

_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class HeartbeatPolicy:
    """`burst` is the bucket of pings: so many at once, one back per half of `min_s`."""

    min_s: int = 60
    max_s: int = 600
    default_s: int = 240
    grace: float = 1.5
    burst: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.default_s <= self.max_s:
            raise ValueError(f"heartbeat: min {self.min_s} ≤ default {self.default_s} ≤ max {self.max_s} does not hold")
        if self.grace < 1 or self.burst < 1:
            raise ValueError("heartbeat: grace and burst are at least 1")

    def interval(self, wish: int | None) -> int:
        """The interval in force for a client's wish.

        >>> [HeartbeatPolicy().interval(wish) for wish in (None, 1, 300, 9_999)]
        [240, 60, 300, 600]
        """
        if wish is None:
            return self.default_s
        return min(max(wish, self.min_s), self.max_s)

    def silent_at(self, heard: float, interval_s: int) -> float:
        """When a client last heard at `heard` counts as gone."""
        return heard + self.grace * interval_s

    def ping(self, level: float, now: float) -> float | None:
        """The bucket's new level after a ping at `now`, or None if the client pings too fast.

        A level is the time at which the bucket is full again, so that one float holds it (the generic cell rate algorithm,
        ITU-T I.371); 0.0 is a full bucket.
        """
        refill_s = self.min_s / 2
        after = max(level, now) + refill_s
        return after if after - now <= self.burst * refill_s + _ROUNDING_S else None

    def frame(self, interval_s: int) -> Heartbeat:
        """What `welcome` says."""
        return Heartbeat(min=self.min_s, max=self.max_s, grace=self.grace, next=interval_s)
