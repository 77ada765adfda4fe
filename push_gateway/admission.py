"""Which hellos are looked at: by the node's room, by its load and by the rate of their address. Whoever is refused is told when to come back.

Sign-ins are what a node can put off: phones come back by themselves. Acks, pushes and goodbyes of those that are in are never turned away.
"""

import random
from dataclasses import dataclass

from push_core.clock import Clock
from push_core.limits.addresses import AddressLimits
from push_core.load import LoopLag
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.shedder import OTHER, Ended, Shedder, ShedderTerms
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    retry_after_ms: int


class Admission:
    def __init__(
        self, registry: Registry, lag: LoopLag, metrics: Metrics, settings: GatewaySettings, clock: Clock
    ) -> None:
        self._registry = registry
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
        self._addresses = AddressLimits(
            settings.address_sign_ins, settings.address_sign_ins_burst, monotonic=clock.monotonic
        )

    @property
    def asks_address(self) -> bool:
        """Whether `refusal` wants to know whose hello it is."""
        return self._settings.address_sign_ins > 0

    def refusal(self, address: str) -> Refusal | None:
        """None: come in."""
        registry, settings = self._registry, self._settings
        if len(registry.signed) + len(registry.joining) >= settings.max_sessions:
            return self.full("too many sessions")
        if self._shedder.pressure(self._lag.smoothed_s, self._monotonic()) > OTHER:
            self._metrics.count(Metric.SHED, place="gateway", priority="other")
            return self.full("the node is busy")
        if self.asks_address and (wait := self._addresses.take(address)):
            self._metrics.count(Metric.LIMITED, limit="sign_ins")
            return Refusal("too many sign-ins from this address", int(wait * 1_000) + self._spread_ms())
        return None

    def full(self, reason: str) -> Refusal:
        return Refusal(reason, self._spread_ms())

    def began(self) -> int:
        """One more sign-in is under way; its ticket."""
        return self._shedder.began(self._monotonic())

    def ended(self, ticket: int, *, well: bool) -> None:
        self._shedder.ended(ticket, self._monotonic(), Ended.SERVED if well else Ended.FAILED)

    def _spread_ms(self) -> int:
        return random.randint(0, self._settings.overload_retry_ms)  # noqa: S311 - spreads load
