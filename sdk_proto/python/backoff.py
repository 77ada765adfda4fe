"""Exponential backoff with full jitter: each delay is uniform between 0 and a ceiling that grows. Pure.

Source of the rule: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015). One outage disconnects everybody at once; what
spreads them is the whole range from 0, not a little jitter around a fixed delay.
"""

import random
from collections.abc import Callable

from sdk_proto.wire.frames import Reconnect


class Backoff:
    """Delays in seconds. `source` gives numbers in [0, 1)."""

    def __init__(self, source: Callable[[], float] = random.random) -> None:
        self._source = source
        self._settings = Reconnect()
        self.failures = 0

    def configure(self, settings: Reconnect) -> None:
        """Take over what the server wishes (`welcome.reconnect`); what has failed so far stays counted."""
        self._settings = settings

    @property
    def ceiling_s(self) -> float:
        """The most that the next delay can be."""
        settings = self._settings
        ceiling = float(min(settings.base_ms, settings.max_ms))
        for _ in range(self.failures):
            if ceiling >= settings.max_ms or settings.factor <= 1:
                break
            ceiling = min(settings.max_ms, ceiling * settings.factor)
        return ceiling / 1000

    def next_s(self) -> float:
        ceiling = self.ceiling_s
        self.failures += 1
        return self._source() * ceiling

    def reset(self) -> None:
        self.failures = 0
