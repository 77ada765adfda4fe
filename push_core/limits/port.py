"""The port of limits: token buckets by key. Batch-first; `take` may raise `Unavailable` or `DeadlineExceeded`, and what a caller does
then (let through or refuse) is the caller's policy.

A bucket holds `burst` tokens when full, which an unknown one is, and fills at `rate_per_s`. An ask is granted when the bucket holds
what it wants. One that wants more than `burst` is granted by a full bucket, which then owes the rest: no ask is
refused for ever, and the rate holds in the long run. Rate and burst come with each ask, so a changed limit counts from the next one on.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Ask(msgspec.Struct, frozen=True):
    """`n` tokens (0 asks how things stand) of the bucket `key`. `rate_per_s` is above 0, `burst` at least 1."""

    key: str
    n: float
    rate_per_s: float
    burst: float

    def __post_init__(self) -> None:
        if not (self.rate_per_s > 0 and self.burst >= 1 and self.n >= 0):
            raise ValueError(
                f"rate_per_s must be above 0, burst at least 1 and n at least 0, got {self.rate_per_s}, {self.burst}, {self.n}"
            )


class Limits(Protocol):
    async def take(self, asks: Sequence[Ask]) -> list[float]:
        """For each ask 0.0 when granted, else the seconds after which the same ask would be, if nobody else takes any; a refused ask
        takes nothing. In the order given, each by itself; those of one key see each other's effect. Atomic per key."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
