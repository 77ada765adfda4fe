"""When to turn work away, so that what is taken is still done in time. Pure: the caller brings the time (monotonic seconds) and the loop's lag.

After BBR, as in go-zero's adaptive shedder: what may be under way is the most that was served in a moment lately, times the time in which it is to be
served; that is `serve_s` rather than BBR's shortest time seen, so that what piled up while the process had no CPU is
worked off and not refused. Only while the event loop is late (or was a moment ago) does it matter at all.
"""

from dataclasses import dataclass

from push_core.models import Priority

BUCKETS = 50
FLOOR = 0.1
"""However late the loop is, this part of what can be served is let in."""

PATIENCE: dict[Priority, float] = {Priority.LOW: 0.5, Priority.NORMAL: 0.75, Priority.HIGH: 1.0, Priority.URGENT: 1.3}
"""Up to how much pressure each is let in: low messages are shed first, urgent ones last."""
OTHER = PATIENCE[Priority.NORMAL]
MOST = max(PATIENCE.values())


@dataclass(frozen=True, slots=True)
class ShedderTerms:
    """`lag_s`: from which smoothed lag of the event loop on; 0: never. `serve_s`: in what time that which is let in should be done, if the shortest
    that it took lately isn't longer. `least`: so many under way are always all right."""

    lag_s: float = 0.25
    serve_s: float = 0.5
    cool_off_s: float = 1.0
    window_s: float = 5.0
    least: int = 16


class Shedder:
    __slots__ = (
        "_bucket",
        "_bucket_s",
        "_fits",
        "_flying",
        "_hot_until",
        "_seconds",
        "_served",
        "_smooth_flying",
        "_terms",
    )

    def __init__(self, terms: ShedderTerms) -> None:
        self._terms = terms
        self._bucket_s = terms.window_s / BUCKETS
        self._bucket = 0
        self._served = [0] * BUCKETS
        self._seconds = [0.0] * BUCKETS
        self._fits = 0.0  # what may be under way, by the buckets that are complete
        self._flying = 0
        self._smooth_flying = 0.0
        self._hot_until = float("-inf")

    @property
    def flying(self) -> int:
        """Under way now."""
        return self._flying

    def pressure(self, lag_s: float, now: float) -> float:
        """How many times as much is under way as should be; 0 while the loop keeps up. What is let in at which pressure: PATIENCE."""
        terms = self._terms
        if lag_s >= terms.lag_s > 0:
            self._hot_until = now + terms.cool_off_s
        elif now >= self._hot_until:
            return 0.0
        flying = min(float(self._flying), self._smooth_flying)
        if flying < terms.least:
            return 0.0
        self._turn(now)
        # The later the loop, the less: what is under way makes it late.
        share = max(FLOOR, terms.lag_s / max(lag_s, terms.lag_s))
        return flying / max(self._fits * share, terms.least)

    def began(self) -> None:
        """One more is under way."""
        self._flying += 1

    def ended(self, now: float, took_s: float | None) -> None:
        """One less; None if it was refused or failed: that says nothing of what can be served."""
        self._flying -= 1
        self._smooth_flying += 0.1 * (self._flying - self._smooth_flying)
        if took_s is not None:
            self._turn(now)
            place = self._bucket % BUCKETS
            self._served[place] += 1
            self._seconds[place] += took_s

    def _turn(self, now: float) -> None:
        bucket = int(now / self._bucket_s)
        if bucket == self._bucket:
            return
        # Before the newest is left: it is complete now.
        served = [(n, seconds / n) for n, seconds in zip(self._served, self._seconds, strict=True) if n]
        for older in range(self._bucket + 1, min(bucket, self._bucket + BUCKETS) + 1):
            self._served[older % BUCKETS] = 0
            self._seconds[older % BUCKETS] = 0.0
        self._bucket = bucket
        if served:
            most = max(n for n, _ in served)
            shortest = min(each_s for _, each_s in served)
            self._fits = most / self._bucket_s * max(shortest, self._terms.serve_s)
        else:
            self._fits = 0.0  # nothing is known: the least
