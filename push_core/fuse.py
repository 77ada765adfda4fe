"""A breaker at the one place through which an adapter makes its remote calls: what it counts as a failure, what it tells of itself. Being
the one place, it also counts and times them.

A refused call is `Unavailable`, certainly not done. Calls that keep something alive (the renewal of a lease, a health ping) are `critical`: they
always go, and what becomes of them counts, so that a ping is also the first to notice that the neighbour is back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from push_core.breaker import Breaker, BreakerTerms
from push_core.errors import DeadlineExceeded, Overloaded, TacoError, Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

log = structlog.get_logger(__name__)
T = TypeVar("T")

LONG_S = 2.0
"""A caller that stops waiting earlier may have its own reasons; after so long the silence is the neighbour's."""
QUIET_S = 5.0
"""Nothing refused for so long: the trouble is over. It is said once when it begins and once when it is over."""


MakeFuse = Callable[[str], "Fuse"]
"""What an adapter is opened with: it gives the name by which people know its server."""


class Fuse:
    """`target` names the kind of neighbour in metrics (few values), `where` this one for people (never a password). Without metrics nothing
    is counted. Without `terms` everything passes: embedded stores, and neighbours whose breaker is turned off."""

    __slots__ = ("_breaker", "_metrics", "_monotonic", "_refused", "_refused_at", "_target", "_where")

    def __init__(
        self,
        target: str,
        where: str,
        terms: BreakerTerms | None,
        metrics: Metrics | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._where = where
        self._metrics = metrics
        self._monotonic = monotonic
        self._breaker = Breaker(terms) if terms is not None else None
        self._refused = 0  # since it was said that calls are refused
        self._refused_at = 0.0

    def reset(self) -> None:
        """The neighbour is known to be back: everything passes."""
        if self._breaker is not None:
            self._breaker.reset()

    async def run(self, call: Callable[[], Awaitable[T]], *, critical: bool = False) -> T:
        """Make the call, if it may go. Raises what it raises; Unavailable without having made it."""
        breaker = self._breaker
        began = self._monotonic()
        if breaker is not None and not critical and not breaker.allows(began):
            self._refuse(began)
            raise Unavailable(f"{self._where}: not asked, it failed lately")
        outcome = "error"
        try:
            result = await call()
            outcome = "done"
        except Overloaded:  # a bound of ours, or of the neighbour's: it lives
            outcome = "busy"
            raise
        except Unavailable as error:
            outcome = "no_answer" if isinstance(error, DeadlineExceeded) else "down"
            self._failed(began)
            raise
        except TacoError:
            self._well()
            raise
        except asyncio.CancelledError:
            outcome = "given_up"
            if self._monotonic() - began >= LONG_S:
                self._failed(began)
            raise
        finally:
            self._note(outcome, began)
        self._well()
        return result

    def _note(self, outcome: str, began: float) -> None:
        if self._metrics is not None:
            self._metrics.count(Metric.NEIGHBOUR_CALLS, target=self._target, outcome=outcome)
            self._metrics.timing(Metric.NEIGHBOUR_SECONDS, self._monotonic() - began, target=self._target)

    def _failed(self, began: float) -> None:
        if self._breaker is not None:
            self._breaker.failed(self._monotonic(), began)

    def _well(self) -> None:
        if self._breaker is None:
            return
        now = self._monotonic()
        self._breaker.succeeded(now)
        if self._refused and now - self._refused_at >= QUIET_S:
            log.info("calls to a neighbour pass again", target=self._target, where=self._where, refused=self._refused)
            self._refused = 0

    def _refuse(self, now: float) -> None:
        self._refused += 1
        self._refused_at = now
        if self._metrics is not None:
            self._metrics.count(Metric.BREAKER_REFUSED, target=self._target)
        if self._refused == 1:
            log.warning("calls to a neighbour that fails are refused", target=self._target, where=self._where)
