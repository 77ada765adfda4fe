"""How many sign-ins a second this process takes, and when each of those that are too many is to come back. Pure; seconds, monotonic.

Two floats: a bucket (the moment at which it is full again, as in `sdk_proto.wire.heartbeat`), and the last moment that was promised to
somebody. Each who is refused is given a moment of its own, a step after the last one: a storm comes back as a queue and not as a storm.
"""

_ROUNDING_S = 1e-6


class Pace:
    """`rate_per_s` 0: no limit. `burst` at once, 0: as many as in a second. Nobody is sent away for longer than `most_s`: who would have to wait
    longer is given a moment in the later half of that, all of them evenly."""

    __slots__ = ("_burst_s", "_full_at", "_most_s", "_promised", "_rate_per_s", "_step_s")

    def __init__(self, rate_per_s: float, burst: float, most_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._step_s = 1 / rate_per_s if rate_per_s else 0.0
        self._burst_s = max(1.0, burst or rate_per_s) * self._step_s
        self._most_s = most_s
        self._full_at = 0.0
        self._promised = 0.0

    def take(self, now: float, dice: float) -> float:
        """0.0: come in. Else how long to stay away. `dice`: a random number from 0 to 1."""
        if not self._rate_per_s:
            return 0.0
        full_at = max(self._full_at, now) + self._step_s
        free_in = full_at - now - self._burst_s
        if free_in <= _ROUNDING_S:
            self._full_at = full_at
            return 0.0
        promised = max(self._promised + self._step_s, now + free_in)
        if promised - now > self._most_s:
            return self._most_s * (0.5 + dice / 2)
        self._promised = promised
        return promised - now
