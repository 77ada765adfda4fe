"""Who leaves a node when, while it is emptied: at a set rate, never above it in any second. Pure: `now` is an argument, in monotonic seconds.

A device that is asked to go comes back somewhere else a moment later, so the rate at which devices are asked is that at which the other
nodes see them come. Their ways differ in length: what is asked within `SPAN_S` may arrive within one second, and is held to the rate too.
"""

from collections import deque
from dataclasses import dataclass

SPAN_S = 1.1


@dataclass(frozen=True, slots=True)
class Terms:
    """`rate`: devices asked to go in any second, at most. `over_s`: they are spread over so long, if the rate would be done sooner.
    `within_s`: all of it has this long. `leave_s`: how long after it was asked a device may still be here. `urls`: where it is to go;
    none: it tries its own next address."""

    rate: int
    within_s: float
    over_s: float = 0.0
    leave_s: float = 5.0
    urls: tuple[str, ...] = ()

    def takes_s(self, sessions: int) -> float:
        """How long it takes so many to be asked and to leave.

        >>> Terms(rate=110, within_s=60.0, leave_s=5.0).takes_s(1_000)
        15.0
        """
        return max(sessions * SPAN_S / self.rate, self.over_s if sessions else 0.0) + self.leave_s


class Departures:
    """One emptying."""

    def __init__(self, terms: Terms, now: float) -> None:
        self._terms = terms
        self._spread_until = now + terms.over_s
        self._next = now  # when one more may be asked
        self._asked: deque[tuple[float, int]] = deque()  # what was asked within the last SPAN_S

    def due(self, waiting: int, now: float) -> int:
        """How many of so many that were not asked yet are asked now. They count as asked."""
        if not waiting or now < self._next:
            return 0
        gap_s = max(SPAN_S / self._terms.rate, (self._spread_until - now) / waiting)
        count = min(waiting, int((now - self._next) / gap_s) + 1, self._room(now))
        if count:
            self._next = max(self._next + count * gap_s, now - SPAN_S)
            self._asked.append((now, count))
        return count

    def retry_ms(self, place: int, now: float) -> int:
        """For those whom the end of the time finds here: after how long the one at this place (from 0) may come back, so that all of them
        together keep to the rate."""
        began = max(self._next, now) if self._terms.over_s == 0 else now
        return round((began - now + (place + 1) * SPAN_S / self._terms.rate) * 1_000)

    def _room(self, now: float) -> int:
        while self._asked and self._asked[0][0] <= now - SPAN_S:
            self._asked.popleft()
        return self._terms.rate - sum(count for _, count in self._asked)
