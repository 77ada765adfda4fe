"""When to leave a neighbour alone that fails: client-side adaptive throttling. Pure: the caller brings the time (monotonic seconds).

The formula is that of the SRE book (https://sre.google/sre-book/handling-overload/, "Client-Side Throttling"): over a rolling window a call is
refused with the probability (requests - K * accepts) / (requests + 1), refused calls being requests too. A neighbour that fails for a part of
its calls gets K times what it can do; one that is dead gets next to nothing. Refinements, the first four as in go-zero:

- the first few requests of a window are never refused, so that one failure on a quiet line means nothing;
- the longer nothing at all succeeds, the smaller K becomes;
- one call passes each `probe_s`, whatever the odds, or nobody would notice that the neighbour is back;
- while all that ends ends well, fewer are refused: none any more after `recover_s`. Then the bad times are forgotten, so that one failure soon
  after does not bring them back;
- a failure of a call that began before the first success is old news and does not count against that.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

MIN_K = 1.1
BUCKETS = 20


@dataclass(frozen=True, slots=True)
class BreakerTerms:
    """`k`: how many calls are let through for each that succeeds; above 1, or every store would be throttled for ever. `protection`: so many
    requests of a window are never refused."""

    k: float = 1.5
    window_s: float = 10.0
    protection: int = 5
    probe_s: float = 1.0
    recover_s: float = 1.0


class Breaker:
    __slots__ = (
        "_accepted",
        "_accepts",
        "_bad_since",
        "_bucket",
        "_bucket_s",
        "_good_since",
        "_good_until",
        "_passed_at",
        "_random",
        "_requested",
        "_requests",
        "_terms",
    )

    def __init__(self, terms: BreakerTerms, rand: Callable[[], float] = random.random) -> None:
        self._terms = terms
        self._random = rand
        self._bucket_s = terms.window_s / BUCKETS
        self._bucket = 0  # number of the newest since the clock's zero; its place in the lists is that modulo BUCKETS
        self._requested = [0] * BUCKETS
        self._accepted = [0] * BUCKETS
        self._requests = 0  # sums of the lists
        self._accepts = 0
        self._passed_at = float("-inf")
        self._bad_since: float | None = None  # the first failure since the last success
        self._good_since: float | None = None  # the first success since the last failure
        self._good_until = 0.0

    def allows(self, now: float) -> bool:
        """Whether a call may go. One that may is to be told of by `succeeded` or `failed`, unless it ended for a reason of its caller's."""
        self._turn(now)
        terms = self._terms
        k, requests = terms.k, self._requests
        if self._bad_since is not None:
            k = max(MIN_K, k - (k - MIN_K) * (now - self._bad_since) / terms.window_s)
        refused = (requests - terms.protection - k * self._accepts) / (requests + 1)
        if refused <= 0:
            return True
        if self._good_since is not None:
            recovered = (self._good_until - self._good_since + self._bucket_s) / terms.recover_s
            if recovered >= 1:
                self._forget()
                return True
            refused *= 1 - recovered
        if now - self._passed_at >= terms.probe_s or self._random() >= refused:
            self._passed_at = now
            return True
        self._count(accepted=0)
        return False

    def succeeded(self, now: float) -> None:
        """A call ended, and the neighbour did its part: an answer that says no is a success."""
        self._turn(now)
        self._count(accepted=1)
        if self._good_since is None:
            self._good_since = now
        self._good_until = now
        self._bad_since = None

    def failed(self, now: float, began: float) -> None:
        """A call that began then ended without an answer."""
        self._turn(now)
        self._count(accepted=0)
        if self._good_since is not None and began < self._good_since:
            return
        self._good_since = None
        if self._bad_since is None:
            self._bad_since = now

    def reset(self) -> None:
        """The bad times are over, by the word of somebody who knows."""
        self._forget()
        self._bad_since = self._good_since = None

    def _count(self, *, accepted: int) -> None:
        place = self._bucket % BUCKETS
        self._requested[place] += 1
        self._requests += 1
        if accepted:
            self._accepted[place] += 1
            self._accepts += 1

    def _turn(self, now: float) -> None:
        """Leave behind what is older than the window."""
        bucket = int(now / self._bucket_s)
        if bucket == self._bucket:
            return
        for older in range(self._bucket + 1, min(bucket, self._bucket + BUCKETS) + 1):
            place = older % BUCKETS
            self._requests -= self._requested[place]
            self._accepts -= self._accepted[place]
            self._requested[place] = self._accepted[place] = 0
        self._bucket = bucket

    def _forget(self) -> None:
        self._requested = [0] * BUCKETS
        self._accepted = [0] * BUCKETS
        self._requests = self._accepts = 0
