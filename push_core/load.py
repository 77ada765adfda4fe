"""How late the event loop is: what every handler on it waits before its turn, and the one figure of overload that needs no knowledge of the machine."""

import asyncio
import math
import time
from collections.abc import Callable

from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

SAMPLE_S = 0.1
SMOOTHING_S = 1.0
TOLD_EACH = 10  # samples


class LoopLag:
    """`smoothed_s` follows the delay with a time constant of a second: one hiccup of a third of a second stays below a limit of a
    quarter, the same delay all the time reaches it within two seconds. `sample` is the body of a loop that a Crew keeps."""

    def __init__(self, program: str, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._program = program
        self._metrics = metrics
        self._monotonic = monotonic
        self._samples = 0
        self.smoothed_s = 0.0

    async def sample(self) -> None:
        began = self._monotonic()
        await asyncio.sleep(SAMPLE_S)
        took = self._monotonic() - began
        self.note(max(0.0, took - SAMPLE_S), took)

    def note(self, lag_s: float, after_s: float) -> None:
        """One delay, so long after the one before."""
        weight = 1.0 - math.exp(-after_s / SMOOTHING_S)
        self.smoothed_s += (lag_s - self.smoothed_s) * weight
        self._samples += 1
        if self._samples % TOLD_EACH == 0:
            self._metrics.gauge(Metric.LOOP_LAG, self.smoothed_s, program=self._program)
