"""Exponential backoff with full jitter: each delay is uniform between 0 and a ceiling that grows.

Source of the rule: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
"""

import random
from collections.abc import Callable


class Backoff:
    """Delays in seconds. `random` gives a number in [0, 1) and is handed in by tests."""

    __slots__ = ("_base_s", "_factor", "_max_s", "_random", "attempt")

    def __init__(
        self, base_s: float, max_s: float, factor: float = 2.0, random: Callable[[], float] = random.random
    ) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._factor = factor
        self._random = random
        self.attempt = 0

    @property
    def ceiling_s(self) -> float:
        """The most that the next delay can be."""
        # The exponent is bounded so that a client that tried for days does not overflow a float.
        return min(self._max_s, self._base_s * self._factor ** min(self.attempt, 64))

    def next_s(self) -> float:
        ceiling = self.ceiling_s
        self.attempt += 1
        return self._random() * ceiling

    def reset(self) -> None:
        self.attempt = 0
