"""Time as a value: pure code takes `now`; only the edges of a program ask this module.

Wall time (Unix milliseconds) is for what outlives a process or is shown to people: ids, `sent`, `expires`.
Monotonic time (seconds) is for leases, timeouts and measured durations; it never steps back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

WallMs = int
Monotonic = float


def wall_ms() -> WallMs:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks a program is started with; tests hand in their own."""

    wall_ms: Callable[[], WallMs] = wall_ms
    monotonic: Callable[[], Monotonic] = time.monotonic
