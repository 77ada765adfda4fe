"""The port of claims. A claim is taken before a vendor is called and confirmed after, so that two workers holding
the same delivery don't both call. Held claims run out; done ones are remembered for as long as the caller says."""

import enum
from collections.abc import Sequence
from typing import Protocol


class Claim(enum.Enum):
    GRANTED = "granted"
    HELD = "held"  # another holder is at it
    DONE = "done"


class Claims(Protocol):
    async def take(self, keys: Sequence[str], holder: str, ttl_s: float) -> list[Claim]:
        """Take what is free, run out, or held by this very holder already."""
        ...

    async def done(self, keys: Sequence[str], holder: str, keep_s: float) -> None:
        """Confirm: nobody is granted these again for `keep_s` seconds. Valid even if the claim ran out meanwhile."""
        ...

    async def give_back(self, keys: Sequence[str], holder: str) -> None:
        """Release what this holder holds (not what is done)."""
        ...

    async def close(self) -> None: ...
