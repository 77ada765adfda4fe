"""Who comes in: at the door by address and by load, then an app's messages by load and priority, then by the app's rate.

Refused as early as it can be known, and before anything is written: a caller over its rate must not slow the others, and work that can't be done in
time must not keep back that which can. One object for both doors.
"""

import math
import random
from collections.abc import Callable, Sequence
from types import TracebackType

from push_api.drafts import Draft
from push_api.settings import ApiSettings
from push_core.clock import Clock
from push_core.errors import Overloaded, UserError
from push_core.limits.addresses import AddressLimits
from push_core.limits.port import Ask, Limits
from push_core.limits.shared import SharedBuckets
from push_core.load import LoopLag
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import App, Priority
from push_core.shedder import MOST, OTHER, PATIENCE, Ended, Shedder, ShedderTerms


class Admission:
    def __init__(self, limits: Limits, lag: LoopLag, metrics: Metrics, settings: ApiSettings, clock: Clock) -> None:
        self._lag = lag
        self._metrics = metrics
        self._settings = settings
        self._monotonic = clock.monotonic
        self._shedder = Shedder(
            ShedderTerms(
                lag_s=settings.shed_lag_s,
                slow_s=settings.shed_slow_s,
                serve_s=settings.shed_serve_s,
                cool_off_s=settings.shed_cool_off_s,
                least=settings.shed_least,
            )
        )
        self._addresses = AddressLimits(settings.address_rate, settings.address_burst, monotonic=clock.monotonic)
        self._buckets = SharedBuckets(
            limits,
            metrics,
            timeout_s=settings.limits_timeout_s,
            away_s=settings.limits_away_s,
            share=settings.limits_share,
            monotonic=clock.monotonic,
        )

    def knock(self, address: str) -> None:
        """A request from this address, of which nothing was looked at. Raises UserError (`rate_limited`), or Overloaded when not even an urgent
        message would be let in."""
        if self._settings.address_rate and (wait := self._addresses.take(address)):
            self._limited("address")
            raise UserError(
                f"this address may send {self._settings.address_rate:g} requests a second; repeat in {math.ceil(wait)} s",
                code="rate_limited",
                retry_after_s=wait,
            )
        if (pressure := self._pressure()) > MOST:
            raise self._shed("any", pressure)

    def visit(self) -> "Visit":
        """`with` around the work of one request, once it is read."""
        return Visit(self._shedder, self._monotonic)

    def recall_refusal(self, app: App) -> None:
        """An app whose key was seen, nothing else. Raises UserError when it is known already that not one message more is granted yet."""
        ask = self._ask(app, 1)
        if ask is not None and (wait := self._buckets.refused_s(ask)):
            raise self._over(app, ask, wait)

    async def request(self, app: App) -> None:
        """A request that sends no messages counts as one. Raises UserError (`rate_limited`) or Overloaded."""
        if (pressure := self._pressure()) > OTHER:
            raise self._shed("other", pressure)
        await self._take(app, 1)

    async def messages(self, app: App, drafts: Sequence[Draft]) -> list[Overloaded | None] | None:
        """The messages of one request: for each None to let it in or why it is turned away; None in place of the list: all come in. Raises
        UserError (`rate_limited`) for the request as a whole."""
        turned_away: list[Overloaded | None] | None = None
        count = len(drafts)
        if pressure := self._pressure():
            turned_away = [
                self._shed(draft.priority, pressure) if pressure > PATIENCE[draft.priority] else None
                for draft in drafts
            ]
            count = turned_away.count(None)
        if count:
            await self._take(app, count)
        return turned_away

    async def close(self) -> None:
        await self._buckets.close()

    # ── load ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pressure(self) -> float:
        return self._shedder.pressure(self._lag.smoothed_s, self._monotonic())

    def _shed(self, priority: Priority | str, pressure: float) -> Overloaded:
        self._metrics.count(Metric.SHED, place="api", priority=str(priority))
        wait = self._settings.shed_retry_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
        return Overloaded(f"the server is busy: {pressure:.1f} times what it can do is under way", retry_after_s=wait)

    # ── rates ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, app: App, count: int) -> Ask | None:
        """None: the app has no limit."""
        rate = self._settings.app_rate if app.rate is None else app.rate
        if not rate:
            return None
        burst = (self._settings.app_burst if app.rate is None else app.burst or 0) or rate
        return Ask(f"app:{app.name}", float(count), rate, max(1.0, burst))

    async def _take(self, app: App, count: int) -> None:
        ask = self._ask(app, count)
        if ask is not None and (wait := await self._buckets.take(ask)):
            raise self._over(app, ask, wait)

    def _over(self, app: App, ask: Ask, wait: float) -> UserError:
        self._limited("app")
        return UserError(
            f"app {app.name} may send {ask.rate_per_s:g} messages a second, {ask.burst:g} at once; repeat in {math.ceil(wait)} s",
            code="rate_limited",
            retry_after_s=wait,
        )

    def _limited(self, limit: str) -> None:
        self._metrics.count(Metric.LIMITED, limit=limit)


class Visit:
    """One request under way."""

    __slots__ = ("_monotonic", "_shedder", "_ticket")

    def __init__(self, shedder: Shedder, monotonic: Callable[[], float]) -> None:
        self._shedder = shedder
        self._monotonic = monotonic
        self._ticket = 0

    def __enter__(self) -> None:
        self._ticket = self._shedder.began(self._monotonic())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            how = Ended.SERVED
        else:
            how = Ended.REFUSED if isinstance(error, UserError | Overloaded) else Ended.FAILED
        self._shedder.ended(self._ticket, self._monotonic(), how)
