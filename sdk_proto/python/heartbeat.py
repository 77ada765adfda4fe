"""When to ping, and when to give the server up (PROTOCOL.md §5, "Life"). Pure: `now` is monotonic seconds, handed in. How long the
interval should be is learned by `adaptive.py`.

Pings keep a schedule of their own, though any frame counts for the server: a client that only sends acks into a dead connection
would otherwise put off for ever the one frame that has an answer.
"""

from sdk_proto.wire.frames import Heartbeat as Bounds


class Heartbeat:
    __slots__ = (
        "_ping_at",
        "_pinged_at",
        "_pong_timeout_s",
        "_quiet_s",
        "_traffic_at",
        "_unanswered_since",
        "bounds",
        "next_s",
    )

    def __init__(self, bounds: Bounds, pong_timeout_s: float, now: float) -> None:
        self.bounds = bounds
        self.next_s = bounds.next
        self._pong_timeout_s = pong_timeout_s
        self._pinged_at = now  # the welcome counts: the server has heard us
        self._ping_at = now + bounds.next
        self._traffic_at = now
        self._quiet_s = 0.0
        self._unanswered_since: float | None = None

    def wish(self, seconds: int) -> bool:
        """Change the interval, clamped to the server's bounds; the next ping tells the server, and comes no later than it would have,
        since the server counts on that. True if it changed."""
        clamped = min(self.bounds.max, max(self.bounds.min, seconds))
        changed = clamped != self.next_s
        self.next_s = clamped
        self._ping_at = min(self._ping_at, self._pinged_at + clamped)
        return changed

    def told(self, seconds: int) -> None:
        """The server has another interval in force than the last ping asked for: its bounds have changed."""
        if seconds < self.next_s:
            self.bounds = Bounds(min=min(self.bounds.min, seconds), max=seconds, grace=self.bounds.grace, next=seconds)
        elif seconds > self.next_s:
            self.bounds = Bounds(min=seconds, max=max(self.bounds.max, seconds), grace=self.bounds.grace, next=seconds)
        self.next_s = seconds
        self._ping_at = self._pinged_at + seconds

    @property
    def deadline(self) -> float:
        """When `is_ping_due` or `is_dead` becomes true next."""
        return self._ping_at if self._unanswered_since is None else self._unanswered_since + self._pong_timeout_s

    @property
    def unanswered_quiet_s(self) -> float | None:
        """How long the connection had been silent before the ping that waits for its answer; None if none does."""
        return None if self._unanswered_since is None else self._quiet_s

    def is_ping_due(self, now: float) -> bool:
        return self._unanswered_since is None and now >= self._ping_at

    def is_dead(self, now: float) -> bool:
        return self._unanswered_since is not None and now >= self._unanswered_since + self._pong_timeout_s

    def ping_sent(self, now: float) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = now
            self._quiet_s = now - self._traffic_at
        self._pinged_at = now
        self._ping_at = now + self.next_s
        self._traffic_at = now

    def sent(self, now: float) -> None:
        """Something else than a ping goes out: whatever is on the way keeps the connection in mind as well as a ping does."""
        self._traffic_at = now

    def received(self, now: float) -> float | None:
        """Anything that the server sends proves it alive, not only a pong. The silence that the connection has survived by this, in seconds;
        None if no ping was waiting."""
        quiet_s = self.unanswered_quiet_s
        self._unanswered_since = None
        self._traffic_at = now
        return quiet_s
