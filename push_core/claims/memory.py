"""Claims in this process: real for one dispatcher, lost with it (its holders are lost with it too)."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from push_core.claims.port import Claim
from push_core.errors import Overloaded


@dataclass(slots=True)
class _Entry:
    holder: str
    until: float
    done: bool


class MemoryClaims:
    """At most `size` claims; `take` is refused as a whole beyond it (Overloaded), confirmations never are.

    What ran out is removed second by second as time passes, a constant effort for each claim made.
    """

    def __init__(self, size: int = 1_000_000, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._ending: dict[int, list[str]] = {}  # second in which they run out → keys
        self._swept = math.floor(monotonic())

    async def take(self, keys: Sequence[str], holder: str, ttl_s: float) -> list[Claim]:
        now = self._sweep()
        if len(self._entries) + len(keys) > self._size:
            fresh = len({key for key in keys if key not in self._entries})
            if len(self._entries) + fresh > self._size:
                raise Overloaded(f"{len(self._entries)} claims are held already (limit {self._size})")
        return [self._take(key, holder, now, ttl_s) for key in keys]

    async def done(self, keys: Sequence[str], holder: str, keep_s: float) -> None:
        now = self._sweep()
        for key in keys:
            self._set(key, _Entry(holder, now + keep_s, done=True))

    async def give_back(self, keys: Sequence[str], holder: str) -> None:
        self._sweep()
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and not entry.done and entry.holder == holder:
                del self._entries[key]

    async def close(self) -> None:
        self._entries.clear()
        self._ending.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _take(self, key: str, holder: str, now: float, ttl_s: float) -> Claim:
        entry = self._entries.get(key)
        if entry is not None and entry.until > now:
            if entry.done:
                return Claim.DONE
            if entry.holder != holder:
                return Claim.HELD
        self._set(key, _Entry(holder, now + ttl_s, done=False))
        return Claim.GRANTED

    def _set(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._ending.setdefault(math.floor(entry.until), []).append(key)

    def _sweep(self) -> float:
        now = self._monotonic()
        second = math.floor(now)
        if second > self._swept:
            # After a long rest there are fewer seconds with something in them than seconds that went by.
            passed = range(self._swept, second)
            over = list(passed) if len(passed) < len(self._ending) else [s for s in self._ending if s < second]
            for ended in over:
                for key in self._ending.pop(ended, ()):
                    entry = self._entries.get(key)
                    if entry is not None and entry.until <= now:
                        del self._entries[key]
            self._swept = second
        return now
