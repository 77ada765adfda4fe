"""Leaves an app's vendor alone for a while after failures in a row, so that one broken endpoint takes no worker's time from the others.
Pure: the caller brings the time (monotonic seconds)."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Line:
    failures: int = 0
    open_until: float = 0.0


class Breaker:
    """Keyed by (channel, app); the `size` that were used last are remembered. After `open_s` one call may try (half open): its success
    closes the breaker, its failure opens it again."""

    def __init__(self, failures: int, open_s: float, size: int = 10_000) -> None:
        self._failures = failures
        self._open_s = open_s
        self._size = size
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()

    def blocked_s(self, key: tuple[str, str], now: float) -> float:
        """Seconds to wait before a call; 0: go ahead. Whoever is let through while half open holds the others off for `open_s`."""
        line = self._lines.get(key)
        if line is None or line.failures < self._failures:
            return 0.0
        if now < line.open_until:
            return line.open_until - now
        line.open_until = now + self._open_s
        return 0.0

    def succeeded(self, key: tuple[str, str]) -> None:
        self._lines.pop(key, None)

    def failed(self, key: tuple[str, str], now: float) -> None:
        line = self._lines.setdefault(key, _Line())
        self._lines.move_to_end(key)
        line.failures += 1
        if line.failures >= self._failures:
            line.open_until = now + self._open_s
        if len(self._lines) > self._size:
            self._lines.popitem(last=False)
