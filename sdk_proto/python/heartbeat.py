"""When to ping, and when to give the server up (PROTOCOL.md §5, "Life"). Pure: `now` is monotonic seconds, handed in.

Pings keep a schedule of their own, though any frame counts for the server: a client that only sends acks into a dead connection
would otherwise put off for ever the one frame that has an answer.
"""

from sdk_proto.wire.frames import Heartbeat as Bounds


class Heartbeat:
    __slots__ = ("_bounds", "_ping_at", "_pong_timeout_s", "_unanswered_since", "next_s")

    def __init__(self, bounds: Bounds, pong_timeout_s: float, now: float) -> None:
        self._bounds = bounds
        self._pong_timeout_s = pong_timeout_s
        self.next_s = bounds.next
        self._ping_at = now + bounds.next
        self._unanswered_since: float | None = None

    def wish(self, seconds: int) -> bool:
        """Change the interval, clamped to the server's bounds; the next ping tells the server. True if it changed."""
        clamped = min(self._bounds.max, max(self._bounds.min, seconds))
        changed = clamped != self.next_s
        self.next_s = clamped
        return changed

    @property
    def deadline(self) -> float:
        """When `is_ping_due` or `is_dead` becomes true next."""
        return self._ping_at if self._unanswered_since is None else self._unanswered_since + self._pong_timeout_s

    def is_ping_due(self, now: float) -> bool:
        return self._unanswered_since is None and now >= self._ping_at

    def is_dead(self, now: float) -> bool:
        return self._unanswered_since is not None and now >= self._unanswered_since + self._pong_timeout_s

    def ping_sent(self, now: float) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = now
        self._ping_at = now + self.next_s

    def received(self) -> None:
        """Anything that the server sends proves it alive, not only a pong."""
        self._unanswered_since = None
