"""Keeps a mistake in a vendor's set-up from wiping the tokens of a whole app (reference: mass-invalidation guard): wrong environments and
mixed-up senders answer "token invalid" to every token at once. Pure: the caller brings the time (monotonic seconds)."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Window:
    slots: deque[list[int]] = field(default_factory=deque)  # [second, good, dead]
    good: int = 0
    dead: int = 0


class TokenGuard:
    """Per (channel, app) over the last `window_s`: from `at_least` dead tokens on, no token is dropped while more than `share` of the answers
    say "dead". The `size` keys that were used last are remembered."""

    def __init__(self, window_s: float = 300.0, at_least: int = 20, share: float = 0.5, size: int = 10_000) -> None:
        self._window_s = window_s
        self._at_least = at_least
        self._share = share
        self._size = size
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()

    def may_drop(self, key: tuple[str, str], *, good: int, dead: int, now: float) -> bool:
        """Take note of the answers of one call; whether its dead tokens may be dropped."""
        window = self._windows.setdefault(key, _Window())
        self._windows.move_to_end(key)
        if len(self._windows) > self._size:
            self._windows.popitem(last=False)
        second = int(now)
        if not window.slots or window.slots[-1][0] != second:
            window.slots.append([second, 0, 0])
        window.slots[-1][1] += good
        window.slots[-1][2] += dead
        window.good += good
        window.dead += dead
        while window.slots and window.slots[0][0] < now - self._window_s:
            _, old_good, old_dead = window.slots.popleft()
            window.good -= old_good
            window.dead -= old_dead
        return window.dead < self._at_least or window.dead <= self._share * (window.good + window.dead)
