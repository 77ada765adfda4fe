"""When to turn work away, so that what is taken is still done in time. Pure: the caller brings the time (monotonic seconds) and the loop's lag.

After BBR, as in go-zero's adaptive shedder: what may be under way is the most that was served in a second lately, times the time in which it is to be
served; that is `serve_s` where BBR takes the shortest time seen, so that what piled up while the process had no CPU is worked off and not
refused. It matters only while the process is overloaded, or was a moment ago: while the event loop is late (too much for the CPU), or what ends
has taken long, or much of what is under way does not end (too much for a store).
"""

import enum
from dataclasses import dataclass
from itertools import islice

from push_core.models import Priority

BUCKETS = 20
IN_A_SECOND = 4
SMOOTH = 0.1
STILL_HOT = 0.9
"""Pressure above which an overload is not over, though its signs be gone: they are gone because of what is turned away."""
FLOOR = 0.1
"""However late the loop is, this part of what can be served is let in."""

PATIENCE: dict[Priority, float] = {Priority.LOW: 0.75, Priority.NORMAL: 1.0, Priority.HIGH: 1.25, Priority.URGENT: 1.6}
"""Up to how much pressure each is let in: low messages are shed first, urgent ones last."""
OTHER = PATIENCE[Priority.NORMAL]
MOST = max(PATIENCE.values())


class Ended(enum.Enum):
    """What a request says when it is over."""

    SERVED = "served"  # how long it takes, and how much is done
    FAILED = "failed"  # how long it takes
    REFUSED = "refused"  # nothing: that is quick


@dataclass(frozen=True, slots=True)
class ShedderTerms:
    """Overloaded is a process from a smoothed lag of `lag_s` on, and when requests take `slow_s`; 0: that is no sign. `serve_s`: in what time that which
    is let in should be done, if the shortest that it took lately isn't longer. `least`: so many under way are always all right."""

    lag_s: float = 0.25
    slow_s: float = 1.0
    serve_s: float = 0.4
    cool_off_s: float = 1.0
    least: int = 16


class Shedder:
    __slots__ = (
        "_began",
        "_bucket",
        "_ended_at",
        "_hot_until",
        "_most",
        "_seconds",
        "_served",
        "_shortest_s",
        "_smooth_flying",
        "_smooth_s",
        "_terms",
        "_ticket",
    )

    def __init__(self, terms: ShedderTerms) -> None:
        self._terms = terms
        self._bucket = 0  # number of the newest since the clock's zero; its place in the lists is that modulo BUCKETS
        self._served = [0] * BUCKETS
        self._seconds = [0.0] * BUCKETS
        self._ended_at = float("-inf")
        self._smooth_s = 0.0  # what requests take
        self._most = 0  # served in the best second, by the buckets that are complete; 0: nothing is known
        self._shortest_s = 0.0
        self._ticket = 0
        self._began: dict[int, float] = {}  # by ticket, the oldest first
        self._smooth_flying = 0.0
        self._hot_until = float("-inf")

    @property
    def flying(self) -> int:
        """Under way now."""
        return len(self._began)

    def pressure(self, lag_s: float, now: float) -> float:
        """How many times as much is under way as should be; 0 while all is well. What is let in at which pressure: PATIENCE."""
        terms = self._terms
        flying = float(len(self._began))
        if flying < terms.least:
            return 0.0
        stuck = self._is_stuck(now)
        if not stuck:  # else little ends to smooth by
            flying = min(flying, self._smooth_flying)  # a burst is no pile yet
        if flying < terms.least:
            return 0.0
        if stuck or lag_s >= terms.lag_s > 0 or self._is_slow(flying):
            self._hot_until = now + terms.cool_off_s
        elif now >= self._hot_until:
            return 0.0
        self._turn(now)
        # The later the loop, the less: what is under way makes it late.
        share = max(FLOOR, terms.lag_s / lag_s) if lag_s > terms.lag_s > 0 else 1.0
        pressure = flying / max(self._most * max(self._shortest_s, terms.serve_s) * share, terms.least)
        if pressure > STILL_HOT:
            self._hot_until = max(self._hot_until, now + terms.cool_off_s)
        return pressure

    def _is_stuck(self, now: float) -> bool:
        """Whether half of `least` have been under way for too long, whatever ends besides."""
        slow_s = self._terms.slow_s
        youngest = next(islice(self._began.values(), self._terms.least // 2, None), now)
        return now - youngest >= slow_s > 0

    def _is_slow(self, flying: float) -> bool:
        """By what ended; by what is under way already once that takes longer than it should."""
        slow_s = self._terms.slow_s
        return self._smooth_s >= slow_s > 0 or (self._smooth_s >= slow_s / 4 > 0 and flying >= self._most * slow_s)

    def began(self, now: float) -> int:
        """One more is under way; its ticket."""
        if not self._began and now - self._ended_at > BUCKETS / IN_A_SECOND:
            self._smooth_s = 0.0  # what was slow was so long ago
        self._ticket += 1
        self._began[self._ticket] = now
        return self._ticket

    def ended(self, ticket: int, now: float, how: Ended) -> None:
        took_s = now - self._began.pop(ticket)
        self._ended_at = now
        self._smooth_flying += SMOOTH * (len(self._began) - self._smooth_flying)
        if how is Ended.REFUSED:
            return
        self._smooth_s += SMOOTH * (took_s - self._smooth_s)
        if how is Ended.SERVED:
            self._turn(now)
            place = self._bucket % BUCKETS
            self._served[place] += 1
            self._seconds[place] += took_s

    def _turn(self, now: float) -> None:
        """Leave the newest bucket behind when its time is over, and with it those that are older than all that are kept."""
        bucket = int(now * IN_A_SECOND)
        if bucket == self._bucket:
            return
        self._work_out()
        for older in range(self._bucket + 1, min(bucket, self._bucket + BUCKETS) + 1):
            self._served[older % BUCKETS] = 0
            self._seconds[older % BUCKETS] = 0.0
        self._bucket = bucket

    def _work_out(self) -> None:
        """By the best second, not by the best moment: a store that commits hundreds at once has moments that say little."""
        oldest_first = [(self._bucket + 1 + n) % BUCKETS for n in range(BUCKETS)]
        served = [self._served[place] for place in oldest_first]
        self._most = max(sum(served[start : start + IN_A_SECOND]) for start in range(BUCKETS - IN_A_SECOND + 1))
        self._shortest_s = min(
            (seconds / n for seconds, n in zip(self._seconds, self._served, strict=True) if n), default=0.0
        )
