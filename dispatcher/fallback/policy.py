"""What follows from a vendor's outcome: a table of plain values, no I/O."""

import enum
from collections.abc import Collection
from dataclasses import dataclass

from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Result, VendorOutcome
from push_core.clock import WallMs
from push_core.lifecycle import Reason
from push_core.models import Channels


class Move(enum.Enum):
    SENT = "sent"  # the vendor has it
    RETRY = "retry"  # the same channel at `due`
    NEXT = "next"  # another channel now
    STAY = "stay"  # no vendor can help: it waits in its inbox
    END = "end"  # no vendor can help, and there is no inbox


@dataclass(frozen=True, slots=True)
class Verdict:
    move: Move
    due: WallMs = 0
    tries: int = 0
    reason: Reason | None = None
    drop_token: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """`retry_ms` is the first pause when the vendor names none; it doubles up to `retry_max_ms`."""

    tries: int
    retry_ms: int
    retry_max_ms: int


def judge(outcome: VendorOutcome, job: VendorJob, limits: Limits, *, now: WallMs, another: bool) -> Verdict:
    """`another`: the device has a further channel that was not tried."""
    result = outcome.result
    if result is Result.DELIVERED_TO_VENDOR:
        return Verdict(Move.SENT)
    if result is Result.UNKNOWN:
        result = Result.RETRY_AFTER if job.tries == 0 else Result.REJECTED
    if result in _LATER:
        verdict = _later(outcome, job, limits, now, burns=result is not Result.QUOTA)
        if verdict is not None:
            return verdict
        reason = Reason.REJECTED
    else:
        reason = Reason.NO_CHANNEL if result is Result.TOKEN_INVALID else Reason.REJECTED
    drop = result is Result.TOKEN_INVALID
    if another:
        return Verdict(Move.NEXT, drop_token=drop)
    if job.envelope.channels is Channels.VENDOR:
        return Verdict(Move.END, reason=reason, drop_token=drop)
    # Without a token it is as if it never had one: it waits for the reason it waited for.
    return Verdict(Move.STAY, reason=None if drop else reason, drop_token=drop)


_LATER: Collection[Result] = frozenset((Result.RETRY_AFTER, Result.AUTH_EXPIRED, Result.QUOTA))


def _later(outcome: VendorOutcome, job: VendorJob, limits: Limits, now: WallMs, *, burns: bool) -> Verdict | None:
    """The next try; None when the tries are used up or the message will have expired by then."""
    if burns and job.tries + 1 >= limits.tries:
        return None
    if outcome.delay_s is not None:
        delay_ms = int(outcome.delay_s * 1_000)
    else:
        delay_ms = min(limits.retry_ms << min(job.tries, 30), limits.retry_max_ms)
    due = now + max(delay_ms, 0)
    if due >= job.envelope.expires:
        return None
    # Taking the row raises its tries by one: what does not burn one is written one lower.
    return Verdict(Move.RETRY, due=due, tries=job.tries if burns else max(job.tries - 1, 0))
