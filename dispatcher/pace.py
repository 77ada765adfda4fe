"""How fast and when the relay publishes again, as plain values: a rate that follows the queues, gaps that double. Pure."""

from dataclasses import dataclass

from dispatcher.relay import FOUND
from push_core.clock import WallMs
from push_core.ids import time_of
from push_core.messages.port import Later

EMPTY_S = 0.5
"""While the oldest body of a queue is younger, whoever takes from it keeps up: there is room for more."""
BEHIND_S = 2.0
"""When it is older they are behind, perhaps because of us."""
STEP_S = 0.5
"""Between two changes of the rate, so that the effect of one is seen before the next."""


class Rate:
    """A token bucket of one second's worth. Its rate doubles up to `most` while the queues are next to empty and halves down to `least`
    while they are behind, so that what a broker lost is back in seconds and a backlog is not made longer."""

    def __init__(self, least: int, most: int) -> None:
        self._least = min(least, most)
        self._most = most
        self._per_s = most  # until the queues say otherwise
        self._left = float(most)
        self._at: float | None = None
        self._changed_at = 0.0
        self._promised = 0.0

    @property
    def per_s(self) -> int:
        return self._per_s

    def follow(self, oldest_age_s: float, now: float) -> None:
        """What is known of the queues that are published to: the age of the oldest body in any."""
        if now - self._changed_at < STEP_S:
            return
        if oldest_age_s < EMPTY_S:
            wished = min(self._most, self._per_s * 2)
        elif oldest_age_s > BEHIND_S:
            wished = max(self._least, self._per_s // 2)
        else:
            return
        if wished != self._per_s:
            self._per_s = wished
            self._left = min(self._left, float(wished))
            self._changed_at = now

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` may go now."""
        if self._at is not None:
            self._left = min(float(self._per_s), self._left + (now - self._at) * self._per_s)
        self._at = now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted

    def turns(self, count: int, now: float) -> list[int]:
        """In how many seconds each of `count` that may not go now should ask again: one after the other behind those that asked before, so that
        a backlog is not taken up and put off as a whole every second."""
        first = max(self._promised, now + 1)
        self._promised = first + count / self._per_s
        return [int(first - now + place / self._per_s) for place in range(count)]


@dataclass(frozen=True, slots=True)
class Gaps:
    """When a message may be published again."""

    first_ms: int
    most_ms: int

    def after(self, tries: int, oldest_age_s: float) -> int:
        """Milliseconds to the next look after the given try: doubling, not shorter than the queue's oldest body has been waiting, and never longer
        than the longest gap, so that what a broker loses is not left alone for as long as its backlog was."""
        doubled = self.first_ms << min(max(tries - 1, 0), 30)
        return min(max(doubled, int(oldest_age_s * 1_000)), self.most_ms)

    def may_be_queued(self, row: Later, oldest_age_s: float, now: WallMs) -> bool:
        """Whether an earlier publishing may still be waiting in the queue: bodies leave in order, so it can't be when the oldest came later. An
        empty queue has no age."""
        if row.tries <= FOUND:
            return False  # put there by somebody who knows
        published = time_of(row.id) if row.tries == FOUND + 1 else now - self.after(row.tries - 1, 0.0)
        return 0 < oldest_age_s * 1_000 >= now - published
