"""The port of vendor channels. One call takes jobs of one channel, of any apps; it answers with one outcome for each job, in order, whatever the
vendor's own batch answer looks like.

A channel never raises for what becomes of a job: that is what outcomes are for. It has a deadline of its own for every call, refreshes its
credentials itself, and knows nothing of stores and states.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dispatcher.fallback.jobs import VendorJob


class Result(enum.Enum):
    """What a vendor's answer means for one token."""

    DELIVERED_TO_VENDOR = "delivered_to_vendor"  # accepted: not proof of display
    RETRY_AFTER = "retry_after"  # 5xx, overload, network: later
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - this token will not work again
    REJECTED = "rejected"  # the same bytes can't succeed
    AUTH_EXPIRED = "auth_expired"  # our credential is wrong, and refreshing it did not help: for people
    QUOTA = "quota"  # a rate or daily quota: wait, without using up tries
    UNKNOWN = "unknown"  # an answer that the adapter does not know: once more, then rejected
    SKIPPED = "skipped"  # the adapter declined before any I/O


@dataclass(frozen=True, slots=True)
class VendorOutcome:
    """`delay_s`: when to come back, if the vendor said so (RETRY_AFTER, QUOTA). `invalid_since`: Unix ms since when the token is dead, if
    known: one registered later is kept. `reason` is the vendor's word, short, without secrets, for the trail."""

    result: Result
    reason: str = ""
    delay_s: float | None = None
    invalid_since: int | None = None


class Channel(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def max_batch(self) -> int:
        """Jobs that one call takes at most."""
        ...

    async def send(self, jobs: Sequence[VendorJob]) -> list[VendorOutcome]: ...

    async def close(self) -> None: ...
